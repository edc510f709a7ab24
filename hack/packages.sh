#!/bin/sh
# packages.sh race|rest|stories: which packages `make test` tests how. "race":
# those where goroutines share state, under the race detector. "stories": those
# that execute bin/mizzen, which Go's test cache knows nothing of, but for
# test/mesh, which wants the machine for itself; the longest ones come first, so
# that none of them is left to run alone. "rest": the others, without the
# detector, which costs five times the time.
set -eu
cd "$(dirname "$0")/.."
race='internal/(apply|controller|live|observe|render|source|webhook)(/.*)?'
# Rendering itself is sequential, and confined workers have no room for the
# detector's shadow memory.
sequential='internal/render/(corpus|helm|kustomize|manifest|memtree|plain|sandbox|worker)(/.*)?'
tests='test/.*'
all=$(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./...)
match() { echo "$all" | grep -E "^mizzen\.dev/mizzen/($1)\$"; }
case "${1:-}" in
race) match "$race" | grep -vE "/$sequential\$" ;;
stories) match test/e2e; match test/peace; match test/pods; match "$tests" | grep -vE '/test/(e2e|mesh|peace|pods)$' ;;
rest) echo "$all" | grep -vE "/($race|$tests)\$" ; match "$sequential" ;;
*) echo "usage: $0 race|rest|stories" >&2; exit 2 ;;
esac
