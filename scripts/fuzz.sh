#!/usr/bin/env bash
# Runs every fuzz target of the tree for the given time each; a crasher is left in testdata/fuzz and fails the run.
set -euo pipefail
fuzztime=${1:-10s}
cd "$(dirname "$0")/.."
n=0
while IFS=: read -r file target; do
	pkg=./$(dirname "$file")
	echo "fuzz $pkg $target $fuzztime"
	go test -run '^$' -fuzz "^${target}\$" -fuzztime "$fuzztime" "$pkg" | tail -n 3
	n=$((n + 1))
done < <(grep -rn --include='*_test.go' -oE '^func Fuzz[A-Za-z0-9_]+' internal cmd 2>/dev/null | sed -E 's/:[0-9]+:func /:/' | sort)
echo "$n fuzz targets, none failed"
