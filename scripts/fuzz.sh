#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Runs every fuzz target of the tree for the given time each; a crasher is left in testdata/fuzz and fails the run.
# FUZZCPU=300 repeats each target until it has had that many seconds of processor time, which on a shared machine is
# not the time on the wall. FUZZSHARD=1/2 takes every second target. The table at the end is for the closing note.
set -euo pipefail
fuzztime=${1:-10s}
cpu=${FUZZCPU:-0}
shard=${FUZZSHARD:-1/1}
cd "$(dirname "$0")/.."
out=$(mktemp) table=$(mktemp)
trap 'rm -f "$out" "$out.cpu" "$table"' EXIT
TIMEFORMAT='%U %S'

# One round of one target, its output in $out and its processor time in $out.cpu.
round() {
	# Minimising an input that is merely interesting is cut short: for the targets that run scripts it would take all
	# the time. A crasher is kept as it was found.
	local rc=0
	{ time go test -run '^$' -fuzz "^$2\$" -fuzztime "$fuzztime" -fuzzminimizetime 50x ${FUZZPARALLEL:+-parallel "$FUZZPARALLEL"} "$1" \
		</dev/null >"$out" 2>&1 || rc=$?; } 2>"$out.cpu"
	# Go before 1.27 may report the end of -fuzztime as a failure (golang.org/issue/75804). That one message, with
	# no failing input, says nothing about the target.
	if [ $rc != 0 ] && { ! grep -q '^ *context deadline exceeded$' "$out" || grep -qE 'Failing input|panic|hung or terminated' "$out"; }; then
		cat "$out"
		return 1
	fi
}

n=0
while IFS=: read -r file target; do
	n=$((n + 1))
	[ $((n % ${shard#*/})) = $((${shard%/*} % ${shard#*/})) ] || continue
	pkg=./$(dirname "$file")
	echo "fuzz $pkg $target $fuzztime"
	execs=0 found=0 spent=0
	while :; do
		round "$pkg" "$target" || exit 1
		last=$(grep -E '^fuzz: elapsed: .* execs: ' "$out" | tail -n 1 || true)
		execs=$((execs + $(sed -nE 's/.*execs: ([0-9]+) .*/\1/p' <<<"$last" | grep . || echo 0)))
		found=$((found + $(sed -nE 's/.*new interesting: ([0-9]+) .*/\1/p' <<<"$last" | grep . || echo 0)))
		spent=$(awk -v s="$spent" '{ printf "%.0f", s + $1 + $2 }' "$out.cpu")
		[ "$spent" -lt "$cpu" ] || break
	done
	tail -n 3 "$out"
	printf '%-24s %-32s %6s s  %10s execs  %4s new\n' "${pkg#./internal/}" "$target" "$spent" "$execs" "$found" | tee -a "$table"
done < <(grep -rn --include='*_test.go' -oE '^func Fuzz[A-Za-z0-9_]+' internal cmd 2>/dev/null | sed -E 's/:[0-9]+:func /:/' | sort)
sort "$table"
echo "$n fuzz targets, none failed"
