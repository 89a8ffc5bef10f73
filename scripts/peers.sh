#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Unpacks Debian's chrony, ntpsec and haproxy into build/peers: the first two conflict, so none is ever installed.
# With them comes unbound, a resolver that validates DNSSEC, with the tools that sign a zone for it and their libraries.
# On a fresh machine it needs root, for the libraries that the two daemons load.
set -euo pipefail
cd "$(dirname "$0")/.."
export DEBIAN_FRONTEND=noninteractive
dir=build/peers
chronyd=$dir/chrony/usr/sbin/chronyd
ntpd=$dir/ntpsec/usr/sbin/ntpd
haproxy=$dir/haproxy/usr/sbin/haproxy
validator="unbound ldnsutils libldns3 libprotobuf-c1 libpcap0.8 libevent-2.1-7 libnghttp2-14 libpython3.11"

# ready: all run, with every library that they ask for.
ready() { "$chronyd" --version >/dev/null 2>&1 && "$ntpd" --version >/dev/null 2>&1 && "$haproxy" -v >/dev/null 2>&1 && validating; }
# validating: so do unbound and its tools, with the libraries beside them.
validating() {
	local libs
	libs=$(printf '%s:' "$dir"/unbound/usr/lib/*-linux-gnu)
	LD_LIBRARY_PATH=$libs "$dir/unbound/usr/sbin/unbound" -V >/dev/null 2>&1 && LD_LIBRARY_PATH=$libs "$dir/unbound/usr/bin/ldns-signzone" -v >/dev/null 2>&1
}
versions() { "$chronyd" --version; "$ntpd" --version; "$haproxy" -v | sed -n 1p; }
# The files go where the user _apt may not write; root fetches them itself, which is what apt would fall back to.
download() { (cd "$dir/debs" && apt-get -qq -o APT::Sandbox::User=root download chrony ntpsec haproxy $validator); }
# missing: libraries and tools that the peers or their tests need and this machine lacks, as package names.
missing() {
	local lib
	for lib in $(ldd "$chronyd" "$dir/chrony/usr/bin/chronyc" "$ntpd" "$haproxy" | awk '/not found/ { print $1 }' | sort -u); do
		case $lib in
		libedit.so.2) echo libedit2 ;;
		libnettle.so.8) echo libnettle8 ;;
		libhogweed.so.6) echo libhogweed6 ;;
		libgnutls.so.30) echo libgnutls30 ;;
		libseccomp.so.2) echo libseccomp2 ;;
		libcap.so.2) echo libcap2 ;;
		libbsd.so.0) echo libbsd0 ;;
		libcrypto.so.3 | libssl.so.3) echo libssl3 ;;
		liblua5.3.so.0) echo liblua5.3-0 ;;
		libpcre2-8.so.0) echo libpcre2-8-0 ;;
		libsystemd.so.0) echo libsystemd0 ;;
		libcrypt.so.1) echo libcrypt1 ;;
		libopentracing-c-wrapper.so.0) echo libopentracing-c-wrapper0 ;;
		libopentracing.so.1) echo libopentracing1 ;;
		libstdc++.so.6) echo libstdc++6 ;;
		*) echo "peers.sh: no package known for $lib" >&2 ;;
		esac
	done
	command -v ip >/dev/null || echo iproute2
	command -v setpriv >/dev/null || echo util-linux
}

if ready && [ -z "$(missing)" ]; then
	versions
	exit 0
fi
mkdir -p "$dir/debs"
rm -f "$dir"/debs/*.deb
# The lists of a fresh machine are empty, those of an old one may name files that are gone.
download 2>/dev/null || { apt-get update -qq && download; }
for p in chrony ntpsec haproxy; do
	rm -rf "${dir:?}/$p"
	dpkg -x "$dir"/debs/${p}_*.deb "$dir/$p"
done
rm -rf "${dir:?}/unbound"
for p in $validator; do
	dpkg -x "$dir"/debs/"$p"_*.deb "$dir/unbound"
done
need=$(missing | sort -u)
if [ -n "$need" ]; then
	if [ "$(id -u)" != 0 ]; then
		echo "peers.sh: install these first, or run it as root:" $need >&2
		exit 1
	fi
	apt-get install -y -qq --no-install-recommends $need >/dev/null || {
		apt-get update -qq && apt-get install -y -qq --no-install-recommends $need >/dev/null
	}
fi
ready || { echo "peers.sh: the peers do not run here; the tests expect those of Debian 12" >&2; exit 1; }
versions
