#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The main job on loopback ports: a time server with NTS, the pool in front of it and a client that finds the server
# through the pool. The client steers a virtual clock that starts 250 ms and 50 ppm off; the machine's own clock is
# left alone. KEEP=1 leaves the three programs running until Ctrl-C.
set -euo pipefail
cd "$(dirname "$0")/.."
run=build/demo
pids=()
declare -A names=()
stop() {
	trap - EXIT INT TERM
	for p in "${pids[@]}"; do kill "$p" 2>/dev/null || true; done
	wait 2>/dev/null || true
}
fail() { echo "demo failed: $*"; exit 1; }

# Before anything is touched: the files in build/demo may be another demo's.
for port in 18080 14460; do
	if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
		fail "another program listens on 127.0.0.1:$port, perhaps another demo (make demo KEEP=1): end it first"
	fi
done
trap stop EXIT
trap 'stop; exit 130' INT TERM
rm -rf "$run" && mkdir -p "$run"

# start NAME COMMAND… runs a program and shows its log with the name in front.
start() {
	local name=$1; shift
	"$@" >"$run/$name.log" 2>&1 &
	local pid=$!
	pids+=("$pid")
	names[$pid]=$name
	# The followers end by themselves with the program.
	tail --pid="$pid" -s 0.2 -n +1 -F "$run/$name.log" 2>/dev/null | sed -u "s/^/$(printf '%-6s' "$name") | /" &
}

echo "Three programs on loopback. The client steers a virtual clock; this machine's own clock is left alone."
start server bin/ntp-daemon -c configs/demo/server.toml
start pool bin/nts-pool-ke -c configs/demo/pool.toml
start client bin/ntp-daemon -c configs/demo/client.toml

bin/ntp-ctl wait-sync -c configs/demo/client.toml --timeout 50s --max-offset 200us --max-frequency 3ppm >"$run/wait" 2>&1 &
waiter=$!
pids+=("$waiter")
code=0
wait -n -p ended "${pids[@]}" || code=$?
if [ "$ended" != "$waiter" ]; then # a port in use, above all
	sleep 0.5 # lets the followers print
	fail "${names[$ended]} ended with $code: $(tail -n 1 "$run/${names[$ended]}.log")"
fi
why=$(cat "$run/wait")
if [ "$code" != 0 ]; then
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
