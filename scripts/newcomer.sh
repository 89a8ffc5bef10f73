#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# What a newcomer does first: `make test` from a clean clone, as a user without rights, in a folder with spaces; then the
# same command for a part of the packages where no C compiler is in the PATH. Needs root, to become that user.
# Modules come from the caller's module cache; what was compiled for the caller is not used.
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || { echo "newcomer: needs root, to become another user"; exit 77; }
user=65534 # nobody
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
chmod 755 "$home"
clone="$home/my files/ntp daemon"
mkdir -p "${clone%/*}" "$home/go/pkg/mod/cache" "$home/tmp" "$home/bin"
git clone -q --no-hardlinks . "$clone"
go mod download
go mod download -modfile=tools/lint/go.mod # what TestEverythingIsReachable runs
cp -r "$(go env GOMODCACHE)/cache/download" "$home/go/pkg/mod/cache/download"
for tool in /usr/bin/* /bin/*; do # a PATH without a C compiler
	case ${tool##*/} in *cc | cc-* | *gcc* | *clang* | c89* | c99*) ;; *) ln -sf "$tool" "$home/bin/${tool##*/}" ;; esac
done
chown -R $user:$user "$home"

# as PATH ARGUMENT… runs make test as the newcomer. CI is not set: what needs root is skipped.
as() {
	local path=$1; shift
	(cd "$clone" && env -i HOME="$home" TMPDIR="$home/tmp" GOPROXY="file://$home/go/pkg/mod/cache/download" GOSUMDB=off GOFLAGS=-modcacherw \
		GOTOOLCHAIN=local PATH="$path" setpriv --reuid $user --regid $user --clear-groups --bounding-set -all make test "$@")
}
gobin=$(go env GOROOT)/bin
as "$gobin:/usr/bin:/bin"
as "$gobin:$home/bin" PACKAGES="${PART:-./cmd/... ./internal/durable ./internal/config ./internal/ctl ./internal/rlimit ./internal/privdrop ./docs}"
