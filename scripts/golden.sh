#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The estimator gives the same bits on this processor and, under qemu-user, on arm64; there the ciphers, which have
# assembly for it, pass all their tests, and answers with NTS allocate nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v qemu-aarch64 >/dev/null && ! command -v qemu-aarch64-static >/dev/null; then
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		apt-get install -y -qq --no-install-recommends qemu-user >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends qemu-user >/dev/null; }
	else
		echo "golden: no qemu-aarch64: install Debian's qemu-user" >&2
		exit 1
	fi
fi
emulator=$(command -v qemu-aarch64 || command -v qemu-aarch64-static)
mkdir -p build/golden
bits() { sed -n 's/.*golden \(0x[0-9a-f]*\).*/\1/p'; }
for arch in amd64 arm64; do
	CGO_ENABLED=0 GOARCH=$arch "${GO:-go}" test -c -o "build/golden/$arch.test" ./internal/algorithm
done
# on_arm64 PACKAGE PATTERN runs those tests of internal/PACKAGE.
on_arm64() (
	binary=$PWD/build/golden/arm64-${1//\//-}.test
	CGO_ENABLED=0 GOARCH=arm64 "${GO:-go}" test -c -o "$binary" "./internal/$1"
	cd "internal/$1"
	echo "arm64, $1: $("$emulator" "$binary" -test.timeout 10m -test.run "$2" | tail -n 20)"
)
NTPD_AES_ASSEMBLY=1 on_arm64 nts/aead .
on_arm64 nts 'Allocate|N01|N02'
on_arm64 server 'NTSAllocatesNothing|N01'
cd internal/algorithm
native=$(../../build/golden/amd64.test -test.v -test.run '^TestGolden$' | bits)
emulated=$("$emulator" ../../build/golden/arm64.test -test.v -test.run '^TestGolden$|^TestExp|^TestLn' | bits)
echo "amd64 $native, arm64 $emulated"
[ -n "$native" ] && [ "$native" = "$emulated" ]
