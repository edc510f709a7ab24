#!/bin/sh
# kernel.sh: what pods that run need from the kernel, each tried in namespaces
# that end with it. It names the first thing that is refused and the one command
# that mends it. `lab doctor --live` knows the same, but has to be built.
set -u
PATH=$PATH:/usr/sbin:/sbin
container="run in a container with --privileged, or outside of one"
refuse() { # refuse WHAT REMEDY
	echo "this machine cannot run pods: $1; mend it: $2" >&2
	echo "(or LAB=kwok, for pods that do not run)" >&2
	exit 2
}
setting() { cat "/proc/sys/$(echo "$1" | tr . /)" 2>/dev/null; }

# try WHAT REMEDY COMMAND...: a kernel that lacks something is mended by the
# remedy; where it is not permitted, who started this container has to.
try() {
	what=$1 remedy=$2
	shift 2
	answer=$("$@" 2>&1) && return
	case $answer in *"not permitted"* | *"ermission denied"*) remedy=$container ;; esac
	refuse "$what: $(echo "$answer" | head -n 1)" "$remedy"
}

# The namespaces of a node, and if need be a user's own in which they are to be
# had.
own="--mount --net --pid --fork --ipc --uts"
[ "$(id -u)" = 0 ] || own="--user --map-root-user $own"

namespaces() {
	# shellcheck disable=SC2086 # a list of flags
	answer=$(unshare $own true 2>&1) && return
	for s in kernel.unprivileged_userns_clone:0:1 user.max_user_namespaces:0:15000 kernel.apparmor_restrict_unprivileged_userns:1:0; do
		name=${s%%:*} values=${s#*:}
		[ "$(setting "$name")" = "${values%:*}" ] || continue
		# Root needs no user namespace.
		[ "$(id -u)" = 0 ] || refuse "namespaces: $name is ${values%:*}" "sudo sysctl -w $name=${values#*:}"
	done
	refuse "namespaces: $answer" "$container"
}

overlay() {
	mkdir "$dir/upper" "$dir/work" "$dir/over" &&
		mount -t overlay -o "lowerdir=/var/lib,upperdir=$dir/upper,workdir=$dir/work,userxattr" overlay "$dir/over"
}

cgroups() {
	for file in cgroup.controllers memory/cgroup.procs unified/cgroup.procs; do
		[ ! -e "/sys/fs/cgroup/$file" ] || return 0
	done
	unshare --cgroup mount -t cgroup2 none /sys/fs/cgroup
}

# Inside: each as the node, the pods, kube-proxy and Istio's interception do it.
if [ "${1:-}" = inside ]; then
	dir=$2
	try mounts "$container" mount -t proc proc /proc
	try mounts "$container" mount -t tmpfs tmpfs "$dir"
	try overlayfs "sudo modprobe overlay" overlay
	try bridge "sudo modprobe bridge" ip link add probe0 type bridge
	try veth "sudo modprobe veth" ip link add probe1 type veth peer name probe2
	try cgroups "sudo mount -t cgroup2 none /sys/fs/cgroup" cgroups
	try nft "sudo modprobe nf_tables" nft "add table ip probe; add chain ip probe c { type nat hook output priority 0; }"
	export XTABLES_LOCKFILE="$dir/lock"
	try iptables "sudo modprobe -a ip_tables iptable_nat nft_compat xt_REDIRECT" \
		iptables -t nat -A OUTPUT -p tcp -j REDIRECT --to-ports 15001
	exit 0
fi

# mount_setattr is of 5.12, overlays in a user namespace are of 5.11.
version=$(uname -r)
major=${version%%.*} minor=${version#*.}
minor=${minor%%[!0-9]*}
if [ "$major" -lt 5 ] || { [ "$major" = 5 ] && [ "$minor" -lt 12 ]; }; then
	refuse "its kernel is Linux $version" "install Linux 5.12 or later"
fi
namespaces
dir=$(mktemp -d) || exit 2
trap 'rmdir "$dir"' EXIT
# shellcheck disable=SC2086 # a list of flags
unshare $own "$0" inside "$dir"
