#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The pool's status page in Debian's Chromium, without a window and without network but for loopback: it fits, wears both colour
# schemes and runs under its own policy. Pictures go to build/pool-status-*.png. Installs the browser (300 MB) where it is missing, as root.
set -euo pipefail
cd "$(dirname "$0")/.."
export DEBIAN_FRONTEND=noninteractive
chromium=${CHROMIUM:-$(command -v chromium || command -v chromium-browser || true)}
if [ -z "$chromium" ]; then
	if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
		echo "page.sh: there is no chromium; install it, or name one: CHROMIUM=/path make page"
		exit 1
	fi
	apt-get update -qq || true
	apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null
	chromium=$(command -v chromium)
fi
rm -f build/pool-status-*.png
NTPD_CHROMIUM=$chromium CGO_ENABLED=0 "${GO:-go}" test -count=1 -timeout 10m -run Chromium ./internal/poolpage
ls build/pool-status-*.png
