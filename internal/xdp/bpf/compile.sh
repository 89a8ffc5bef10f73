#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Compiles ntp.c into ntp.o, or into the file that is named, with clang and Debian's libbpf-dev. `go generate ./internal/xdp`
# also writes ntp.sum, with the hashes of both and the compiler: object_test.go holds them together.
set -eu
cd "$(dirname "$0")"
out=${1:-ntp.o}
multiarch=$(clang -print-multiarch 2>/dev/null || echo x86_64-linux-gnu)
clang -O2 -g -fdebug-prefix-map="$PWD"=. -mcpu=v3 -target bpfel -Wall -Wextra -Werror -I"/usr/include/$multiarch" -c ntp.c -o "$out"
llvm-strip -g "$out" # lines of C go, types stay: the loader reads them
[ $# -eq 0 ] || exit 0
{ sha256sum ntp.c ntp.o; clang --version | head -n 1; } >ntp.sum
