#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Runs the suite in two small virtual machines whose clocks may be set at will (docs/testing.md). The processor is
# emulated, so neither root nor /dev/kvm is needed once Debian's packages are there.
#   VMTEST_RUN   scenarios of tools/vminit, comma separated; default: all
# Without emulator or kernel the tests are skipped, and said so; with CI=true and VMTEST=1 that is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."
dir=$PWD/build/vm
export DEBIAN_FRONTEND=noninteractive

cannot() {
	echo "vmtest skipped: $1"
	if [ "${CI:-}" = true ] && [ "${VMTEST:-}" = 1 ]; then exit 1; fi
	exit 0
}

# quietly runs a command and shows what it said only if it failed.
quietly() {
	local out
	out=$("$@" 2>&1) || { echo "$out" | tail -5; return 1; }
}

[ "$(uname -sm)" = "Linux x86_64" ] || cannot "the machines are Linux x86_64"
for tool in apt-get apt-cache dpkg; do
	command -v $tool >/dev/null || cannot "no $tool: qemu and kernel come from Debian's packages"
done
updated=
update() {
	if [ -z "$updated" ]; then quietly apt-get update -qq || true; updated=1; fi
}

if ! command -v qemu-system-x86_64 >/dev/null; then
	install=(apt-get install -y -qq --no-install-recommends qemu-system-x86)
	quietly "${install[@]}" || { update; quietly "${install[@]}"; } || cannot "qemu-system-x86 could not be installed"
fi

# The cloud kernel, downloaded and unpacked, never installed.
if ! compgen -G "$dir/kernel/boot/vmlinuz-*" >/dev/null; then
	mkdir -p "$dir/debs"
	newest() { apt-cache depends linux-image-cloud-amd64 2>/dev/null | awk '/Depends: linux-image-/ {print $2; exit}'; }
	fetch() {
		local package
		package=$(newest)
		[ -n "$package" ] && rm -f "$dir"/debs/*.deb && (cd "$dir/debs" && quietly apt-get download -qq "$package")
	}
	fetch || { update; fetch; } || cannot "linux-image-cloud-amd64 could not be downloaded"
	rm -rf "$dir/kernel.new" "$dir/kernel"
	dpkg -x "$dir"/debs/*.deb "$dir/kernel.new"
	mv "$dir/kernel.new" "$dir/kernel"
fi

rm -f "$dir/results.txt" "$dir/detuned.txt"
status=0
mkdir -p build
# Ahead of other work where that is allowed, in a session of its own: a machine that waits for a processor stamps its packets late.
NTPD_VM=$dir setsid sh -c 'echo -15 2>/dev/null >/proc/self/autogroup; exec nice -n -15 "$@"' sh \
	go run ./tools/testrun -record build/tests.json -- -count=1 -timeout 10m ./internal/vmtest/ &
run=$!
trap 'kill -- -$run' INT TERM
wait $run || status=$?
for numbers in "$dir/results.txt" "$dir/detuned.txt"; do
	if [ -f "$numbers" ]; then grep '^VMNUM' "$numbers" || true; fi
done
exit $status
