#!/usr/bin/env bash
# The main job on loopback ports: a time server with NTS, the pool in front of it and a client that finds the server
# through the pool. The client steers a virtual clock that starts 250 ms and 50 ppm off; the machine's own clock is
# left alone. KEEP=1 leaves the three programs running until Ctrl-C.
set -euo pipefail
cd "$(dirname "$0")/.."
run=build/demo
rm -rf "$run" && mkdir -p "$run"
pids=()
stop() {
	trap - EXIT INT TERM
	for p in "${pids[@]}"; do kill "$p" 2>/dev/null || true; done
	wait 2>/dev/null || true
}
trap stop EXIT
trap 'stop; exit 130' INT TERM

# start NAME COMMAND… runs a program and shows its log with the name in front.
start() {
	local name=$1; shift
	"$@" >"$run/$name.log" 2>&1 &
	local pid=$!
	pids+=("$pid")
	# The followers end by themselves with the program.
	tail --pid="$pid" -s 0.2 -n +1 -F "$run/$name.log" 2>/dev/null | sed -u "s/^/$(printf '%-6s' "$name") | /" &
}
fail() { echo "demo failed: $*"; exit 1; }

echo "Three programs on loopback. The client steers a virtual clock; this machine's own clock is left alone."
start server bin/ntp-daemon -c configs/demo/server.toml
start pool bin/nts-pool-ke -c configs/demo/pool.toml
start client bin/ntp-daemon -c configs/demo/client.toml

if ! why=$(bin/ntp-ctl wait-sync -c configs/demo/client.toml --timeout 50s --max-offset 200us --max-frequency 3ppm 2>&1); then
	bin/ntp-ctl status -c configs/demo/client.toml || true
	fail "$why"
fi
sleep 0.3 # lets the followers print what is already in the logs
echo
bin/ntp-ctl status -c configs/demo/client.toml
echo "$why"
status=$(bin/ntp-ctl status --json -c configs/demo/client.toml)
grep -q '"nts_cookies": *[0-9]' <<<"$status" || fail "the client's source is not protected by NTS"
grep -q 'wrote records for client' "$run/pool.log" || fail "the pool did not answer the client"
if [ "${KEEP:-}" = 1 ]; then
	echo "client synchronised through the pool; running until Ctrl-C"
	wait
fi
echo "client synchronised through the pool"
