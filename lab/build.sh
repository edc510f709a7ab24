#!/bin/sh
# build.sh: build bin/lab and bin/kubectl of the checkout, unless nothing that
# goes into them has changed since: linking them takes seconds even when
# nothing is compiled. The versions come from go.mod.
set -eu
cd "$(dirname "$0")"
bin=../bin
mkdir -p "$bin"
# The same binaries, and the same build cache, whoever calls: make or a test.
export CGO_ENABLED=0

# Kubernetes' clients parse the version; without it they see v0.0.0.
kubernetes=$(sed -n 's/^\tk8s.io\/kubernetes \(v[0-9.]*\)$/\1/p' go.mod)
minor=${kubernetes#v1.}
v=k8s.io/component-base/version
ldflags="-s -w -X $v.gitVersion=$kubernetes -X $v.gitMajor=1 -X $v.gitMinor=${minor%%.*}"

# build NAME PACKAGE FILE...: NAME depends on the contents of the FILEs.
build() {
	name=$1 package=$2
	shift 2
	stamp=$({ go version; echo "$ldflags"; printf '%s\n' "$@" | LC_ALL=C sort | xargs -d '\n' sha256sum; } | sha256sum)
	[ -x "$bin/$name" ] && [ "$(cat "$bin/.$name.stamp" 2>/dev/null)" = "$stamp" ] && return
	echo "building bin/$name" >&2
	# A running lab keeps the file it was started from.
	go build -ldflags "$ldflags" -o "$bin/.$name.$$" "$package"
	mv "$bin/.$name.$$" "$bin/$name"
	echo "$stamp" >"$bin/.$name.stamp"
}

build lab ./cmd/lab $(find . -type f ! -name '*_test.go' ! -name '.*.sw?')
build kubectl k8s.io/kubernetes/cmd/kubectl go.mod go.sum build.sh
