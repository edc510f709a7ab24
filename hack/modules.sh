#!/bin/sh
# modules.sh: download the Go modules that the build and the tests of this
# checkout need, once per go.sum, so that a network that fails is told as what
# it is and not as a broken build.
set -eu
cd "$(dirname "$0")/.."
stamp=$(cat go.sum lab/go.sum | sha256sum)
[ "$(cat bin/.modules.stamp 2>/dev/null)" = "$stamp" ] && exit 0
for dir in . lab; do
	(cd "$dir" && go list -deps -test ./... >/dev/null) || {
		echo "could not download Go modules; check the network and GOPROXY (now $(go env GOPROXY))" >&2
		exit 2
	}
done
mkdir -p bin
echo "$stamp" >bin/.modules.stamp
