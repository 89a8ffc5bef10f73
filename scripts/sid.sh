#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Unpacks Debian sid's chrony, ntpsec and ntpd-rs, with the libraries that they load, into build/sid/root. Nothing is
# installed; the programs run on this machine's kernel with sid's own loader (build/sid/run). The machine's package
# lists are left alone: sid has a set of its own in build/sid/apt.
# Exits with 75 when sid cannot be reached at all, and with 1 after any other failure.
set -euo pipefail
cd "$(dirname "$0")/.."
export DEBIAN_FRONTEND=noninteractive
dir=$PWD/build/sid
peers=(chrony ntpsec ntpd-rs)
unreachable=75

loader() { ls "$dir"/root/usr/lib64/ld-linux-*.so.* "$dir"/root/usr/lib/ld-linux-*.so.* 2>/dev/null | sed -n 1p; }
# versions prints what runs; it fails unless everything runs and the shim is there.
versions() {
	[ -x "$dir/run" ] && [ -f "$dir/noclock.so" ] &&
		"$dir/run" usr/sbin/chronyd --version && "$dir/run" usr/bin/chronyc --version >/dev/null &&
		"$dir/run" usr/sbin/ntpd --version && "$dir/run" usr/bin/ntp-daemon --version 2>&1
}

# The archive that this machine's own Debian packages come from serves sid as well.
archive() { apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' 'Component: main' | awk 'NR == 1'; }
source_line() {
	local uri
	uri=$(archive)
	if [ -z "$uri" ]; then # the machine's lists are empty
		apt-get -qq update || true
		uri=$(archive)
	fi
	[ -n "$uri" ] || { echo "sid.sh: apt knows no Debian archive" >&2; return 1; }
	echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri sid main"
}

# An apt of its own: no packages installed, one list. The archive's copy may be older than the validity date of its
# lists; test programs need not be today's.
configure() {
	mkdir -p "$dir"/apt/{lists/partial,cache/archives/partial,etc/{parts,preferences.d,apt.conf.d,trusted.gpg.d}}
	source_line >"$dir/apt/etc/sources.list"
	: >"$dir/apt/status"
	cat >"$dir/apt/apt.conf" <<-EOF
		Dir::State "$dir/apt";
		Dir::State::status "$dir/apt/status";
		Dir::Cache "$dir/apt/cache";
		Dir::Etc "$dir/apt/etc";
		Dir::Etc::sourcelist "$dir/apt/etc/sources.list";
		Dir::Etc::sourceparts "$dir/apt/etc/parts";
		APT::Sandbox::User "root";
		APT::Get::List-Cleanup "false";
		Acquire::Check-Valid-Until "false";
		Acquire::Languages "none";
		Acquire::PDiffs "false";
		Acquire::Retries "2";
		Acquire::http::Timeout "20";
	EOF
}

# closure prints the peers and the libraries that they depend on, directly or not.
closure() {
	local todo=("${peers[@]}") seen=" " p
	while [ ${#todo[@]} -gt 0 ]; do
		p=${todo[0]}
		todo=("${todo[@]:1}")
		case $seen in *" $p "*) continue ;; esac
		seen="$seen$p "
		todo+=($(apt-cache depends --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances "$p" |
			awk '$1 ~ /Depends:$/ && $2 ~ /^(lib|zlib)/ { print $2 }'))
	done
	echo "$seen"
}

# The programs find sid's libraries and not the machine's.
write_run() {
	cat >"$dir/run" <<-EOF
		#!/bin/sh
		# usage: run PATH-IN-ROOT [ARGUMENT…]; NOCLOCK=1 puts the shim in front of the calls that set the clock.
		program=\$1
		shift
		exec "$(loader)" --library-path "$(dirname "$(ls "$dir"/root/usr/lib/*/libc.so.6)")" \${NOCLOCK:+--preload "$dir/noclock.so"} --argv0 "\$program" "$dir/root/\$program" "\$@"
	EOF
	chmod +x "$dir/run"
}

# Without libc, so that it loads into the programs of any release.
build_shim() {
	command -v gcc >/dev/null || {
		apt-get install -y -qq --no-install-recommends gcc libc6-dev >/dev/null ||
			{ apt-get update -qq && apt-get install -y -qq --no-install-recommends gcc libc6-dev >/dev/null; }
	}
	gcc -shared -fPIC -O2 -Wall -Wextra -Werror -nostdlib -o "$dir/noclock.so" scripts/noclock.c
}

[ scripts/noclock.c -nt "$dir/noclock.so" ] && rm -f "$dir/noclock.so"
if versions 2>/dev/null; then exit 0; fi
build_started=$SECONDS
rm -rf "$dir/root" "$dir/debs" "$dir/run" "$dir/noclock.so"
mkdir -p "$dir/root" "$dir/debs"
build_shim
configure
export APT_CONFIG=$dir/apt/apt.conf
if ! said=$(apt-get -qq --error-on=any update 2>&1); then
	echo "$said" >&2
	# A signature or a hash that does not fit is no matter of reach.
	if grep -qiE 'could ?n.t (connect|resolve)|connection (failed|refused|timed out)|temporary failure|timed out|unreachable|403|404' <<<"$said" &&
		! grep -qE 'GPG|NO_PUBKEY|not signed|Hash Sum' <<<"$said"; then
		echo "sid.sh: sid cannot be reached" >&2
		exit $unreachable
	fi
	exit 1
fi
(cd "$dir/debs" && apt-get -qq download $(closure))
for deb in "$dir"/debs/*.deb; do dpkg -x "$deb" "$dir/root"; done
rm -rf "$dir/apt/lists" "$dir/apt/cache"
write_run
versions || { echo "sid.sh: the programs of sid do not run here" >&2; exit 1; }
echo "sid.sh: $(ls "$dir/debs" | wc -l) packages in $((SECONDS - build_started)) s"
