#!/usr/bin/env bash
# Unpacks Debian's chrony and ntpsec into build/peers: the two packages conflict, so they are never installed.
set -euo pipefail
cd "$(dirname "$0")/.."
dir=build/peers
mkdir -p "$dir/debs"
[ -x "$dir/chrony/usr/sbin/chronyd" ] && [ -x "$dir/ntpsec/usr/sbin/ntpd" ] && exit 0
(cd "$dir/debs" && apt-get download -qq chrony ntpsec) || { apt-get update -qq && (cd "$dir/debs" && apt-get download -qq chrony ntpsec); }
# Their libraries come from the distribution; only the daemons themselves are unpacked.
apt-get install -y -qq --no-install-recommends libedit2 libnettle8 libgnutls30 libseccomp2 libcap2 libbsd0 libssl3 tzdata adduser >/dev/null
for p in chrony ntpsec; do
	rm -rf "${dir:?}/$p"
	dpkg -x "$dir"/debs/${p}_*.deb "$dir/$p"
done
"$dir/chrony/usr/sbin/chronyd" --version
"$dir/ntpsec/usr/sbin/ntpd" --version
