#!/bin/sh
# fuzz.sh: run every fuzz test of both modules for FUZZ_TIME (20s unless set). An
# input that fails is kept in the package's testdata/fuzz: commit it with the
# fix.
set -eu
cd "$(dirname "$0")/.."
time=${FUZZ_TIME:-20s}
failed=
for file in $(git ls-files '*_test.go' | xargs grep -l '^func Fuzz'); do
	dir=$(dirname "$file")
	for name in $(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$file"); do
		echo "==> $dir $name $time" >&2
		(cd "$dir" && go test -run '^$' -fuzz "^$name\$" -fuzztime "$time" .) || failed="$failed $dir:$name"
	done
done
if [ -n "$failed" ]; then
	echo "failed:$failed" >&2
	exit 1
fi
