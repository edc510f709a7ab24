#!/bin/sh
# prerequisites.sh: what building and testing need from the host. It names what
# is missing and the one line that mends it, before anything is downloaded.
# LAB=kwok leaves out what only running pods need.
set -u
case ${TRACING:-} in
"" | 0 | 1) ;;
*)
	echo "TRACING=$TRACING: want 1 for Jaeger, or 0" >&2
	exit 2
	;;
esac
case ${JOINED:-} in
"" | 0 | 1) ;;
*)
	echo "JOINED=$JOINED: want 1 for clusters whose pods reach each other, or 0" >&2
	exit 2
	;;
esac
# An ordinary user's PATH may lack where nft and iptables are.
PATH=$PATH:/usr/sbin:/sbin
missing=
need() { # need COMMAND PACKAGE...
	command -v "$1" >/dev/null 2>&1 && return
	shift
	missing="$missing $*"
}
need git git
need ssh openssh-client
need curl curl
# The race detector is the only thing that wants a C compiler.
need cc gcc libc6-dev
if [ "${LAB:-}" != kwok ]; then
	# kube-proxy, Istio's interception, and the ids of an ordinary user's pods.
	need nft nftables
	need iptables iptables
	# With which kernel.sh tries what the kernel has.
	need ip iproute2
	need newuidmap uidmap
	# Envoy comes as a Python wheel.
	need python3 python3
	python3 -c 'import pip' 2>/dev/null || missing="$missing python3-pip"
fi
[ -e /etc/ssl/certs/ca-certificates.crt ] || [ -d /etc/pki ] || missing="$missing ca-certificates"
[ -x "$(git --exec-path 2>/dev/null)/git-http-backend" ] || case "$missing" in *" git"*) ;; *) missing="$missing git" ;; esac
if [ -n "$missing" ]; then
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
		echo "installing$missing" >&2
		# shellcheck disable=SC2086 # a list of package names
		{ apt-get update -q && apt-get install -qy --no-install-recommends $missing; } >/dev/null ||
			{ echo "could not install$missing; check the network and the package sources" >&2; exit 2; }
	else
		echo "this machine lacks$missing; run: sudo apt-get update && sudo apt-get install -y$missing" >&2
		exit 2
	fi
fi
if ! command -v go >/dev/null 2>&1; then
	echo "this machine lacks Go; install Go 1.26 from https://go.dev/dl/ and put its bin directory into PATH" >&2
	exit 2
fi
[ "${LAB:-}" = kwok ] && exit 0
# Pods of an ordinary user are in a user namespace of its own.
if [ "$(id -u)" != 0 ]; then
	for file in /etc/subuid /etc/subgid; do
		grep -qE "^($(id -un)|$(id -u)):" $file 2>/dev/null && continue
		echo "you have no range of ids in $file; run: sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $(id -un)" >&2
		exit 2
	done
fi
exec "$(dirname "$0")/kernel.sh"
