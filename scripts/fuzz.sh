#!/usr/bin/env bash
# Runs every fuzz target of the tree for the given time each; a crasher is left in testdata/fuzz and fails the run.
set -euo pipefail
fuzztime=${1:-10s}
cd "$(dirname "$0")/.."
out=$(mktemp)
trap 'rm -f "$out"' EXIT
n=0
while IFS=: read -r file target; do
	pkg=./$(dirname "$file")
	echo "fuzz $pkg $target $fuzztime"
	# Minimising an input that is merely interesting is cut short: for the targets that run scripts it would take all
	# the time. A crasher is kept as it was found.
	if ! go test -run '^$' -fuzz "^${target}\$" -fuzztime "$fuzztime" -fuzzminimizetime 50x "$pkg" </dev/null >"$out" 2>&1; then
		# Go before 1.27 may report the end of -fuzztime as a failure (golang.org/issue/75804). That one message, with
		# no failing input, says nothing about the target.
		if ! grep -q '^ *context deadline exceeded$' "$out" || grep -qE 'Failing input|panic|hung or terminated' "$out"; then
			cat "$out"
			exit 1
		fi
	fi
	tail -n 3 "$out"
	n=$((n + 1))
done < <(grep -rn --include='*_test.go' -oE '^func Fuzz[A-Za-z0-9_]+' internal cmd 2>/dev/null | sed -E 's/:[0-9]+:func /:/' | sort)
echo "$n fuzz targets, none failed"
