#!/bin/sh
# modules.sh: download the Go modules that the build and the tests of this
# checkout need, once per go.sum, so that a network that fails is told as what
# it is and not as a broken build. LAB and TRACING mean what they mean to
# lab/build.sh.
set -eu
cd "$(dirname "$0")/.."
modules=". lab"
[ "${LAB:-}" = kwok ] || modules="$modules lab/coredns lab/prometheus"
[ "${TRACING:-}" != 1 ] || modules="$modules lab/jaeger"
stamp=$(for dir in $modules; do sha256sum "$dir/go.sum"; done)
[ "$(cat bin/.modules.stamp 2>/dev/null)" = "$stamp" ] && exit 0
download() { # download MODULE
	cd "$1" && case $1 in
	# No code of ours, and of Prometheus only what lab/build.sh builds.
	lab/prometheus) go list -deps -tags remove_all_sd,enable_kubernetes_sd tool ;;
	lab/jaeger) go list -deps tool ;;
	lab) go list -deps -test ./... && go list -deps tool ;;
	*) go list -deps -test ./... ;;
	esac >/dev/null
}
for dir in $modules; do
	(download "$dir") || {
		echo "could not download Go modules; check the network and GOPROXY (now $(go env GOPROXY))" >&2
		exit 2
	}
done
mkdir -p bin
echo "$stamp" >bin/.modules.stamp
