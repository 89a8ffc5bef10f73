#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Unpacks Debian's chrony and ntpsec into build/peers: the two packages conflict, so they are never installed.
# On a fresh machine it needs root, for the libraries that the two daemons load.
set -euo pipefail
cd "$(dirname "$0")/.."
export DEBIAN_FRONTEND=noninteractive
dir=build/peers
chronyd=$dir/chrony/usr/sbin/chronyd
ntpd=$dir/ntpsec/usr/sbin/ntpd

# ready: both run, with every library that they ask for.
ready() { "$chronyd" --version >/dev/null 2>&1 && "$ntpd" --version >/dev/null 2>&1; }
versions() { "$chronyd" --version; "$ntpd" --version; }
# The files go where the user _apt may not write; root fetches them itself, which is what apt would fall back to.
download() { (cd "$dir/debs" && apt-get -qq -o APT::Sandbox::User=root download chrony ntpsec); }
# missing: libraries and tools that the peers or their tests need and this machine lacks, as package names.
missing() {
	local lib
	for lib in $(ldd "$chronyd" "$dir/chrony/usr/bin/chronyc" "$ntpd" | awk '/not found/ { print $1 }' | sort -u); do
		case $lib in
		libedit.so.2) echo libedit2 ;;
		libnettle.so.8) echo libnettle8 ;;
		libhogweed.so.6) echo libhogweed6 ;;
		libgnutls.so.30) echo libgnutls30 ;;
		libseccomp.so.2) echo libseccomp2 ;;
		libcap.so.2) echo libcap2 ;;
		libbsd.so.0) echo libbsd0 ;;
		libcrypto.so.3 | libssl.so.3) echo libssl3 ;;
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
for p in chrony ntpsec; do
	rm -rf "${dir:?}/$p"
	dpkg -x "$dir"/debs/${p}_*.deb "$dir/$p"
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
