#!/bin/sh
# up.sh: start the lab and Mizzen in the background, and return when the demo is
# synced and the shop answers. What runs already is kept; what was killed is
# started again. State and logs are in .lab (or $MIZZEN_LAB). `make up` builds
# first. LAB=kwok takes simulated nodes, on which no pod runs; TRACING=1 adds
# Jaeger, and TRACING=0 takes it away from a lab that runs; CLUSTERS=2 adds a
# cluster, which is empty, and JOINED=1 lets the pods of both reach each other;
# WAIT=10m waits longer for the demo than 5 minutes.
set -eu
cd "$(dirname "$0")/.."
MIZZEN_LAB=${MIZZEN_LAB:-$PWD/.lab}
export MIZZEN_LAB
demo=$MIZZEN_LAB/git/demo.git
kubeconfig=$MIZZEN_LAB/kubeconfig
log=$MIZZEN_LAB/mizzen.log
kubectl() { bin/kubectl --kubeconfig "$kubeconfig" "$@"; }
step() { echo "==> $*" >&2; }
fail() { # fail CODE MESSAGE
	echo "up: $2" >&2
	exit "$1"
}

nodes=${LAB:-live}
case $nodes in
live) live=--live=true ;;
kwok) live=--live=false ;;
*) fail 2 "LAB=$nodes: want live, or kwok for pods that do not run" ;;
esac

case ${TRACING:-} in
"" | 0 | 1) ;;
*) fail 2 "TRACING=$TRACING: want 1 for Jaeger, or 0" ;;
esac

case ${JOINED:-},$nodes in
,* | 0,*) joined= ;;
1,live) joined=--joined ;;
1,*) fail 2 "JOINED=1 is for pods that run: leave out LAB=$nodes" ;;
*) fail 2 "JOINED=$JOINED: want 1 for clusters whose pods reach each other, or 0" ;;
esac

# running: whether a lab runs, ready or not; $said is then what `lab status` says
# of it, whose exit code is 0 for one that is ready.
running() {
	said=$(bin/lab status -o json 2>/dev/null) || :
	echo "$said" | grep -qE '^  "state": "(starting|ready|failed)"'
}

# examine: whether the machine has what a lab needs that is to start. One that
# runs has it, and leaves less to others.
examine() {
	running && return
	answer=$(mktemp)
	# shellcheck disable=SC2086 # $joined is one flag or none
	bin/lab doctor $live $joined >"$answer" || {
		grep -v '^ok' "$answer" >&2
		rm -f "$answer"
		fail 2 "this machine lacks what the lab needs, see above"
	}
	rm -f "$answer"
}

if [ -z "${LAB_UP_LOCKED:-}" ]; then
	examine
	# Who comes second finds the work done. What runs on in the background does
	# not hold the lock.
	flock -n "$MIZZEN_LAB/up.lock" true || step "waiting for another start of this lab"
	LAB_UP_LOCKED=1 exec flock -o "$MIZZEN_LAB/up.lock" hack/up.sh
fi
unset LAB_UP_LOCKED

# The nodes of a lab that runs stay what they are.
started=1
if running; then
	started=
	case $nodes,$said in
	kwok,*'"live": true'*) fail 2 "the lab that runs has live nodes; run 'make down' first" ;;
	kwok,* | live,*'"live": true'*) ;;
	live,*) fail 2 "the nodes of the lab that runs are simulated; run 'make down' first" ;;
	esac
fi

step "starting Kubernetes and a Git server"
# shellcheck disable=SC2086 # $joined is one flag or none
bin/lab up $live ${CLUSTERS:+--clusters "$CLUSTERS"} $joined ${IDLE:+--idle "$IDLE"} --serving >/dev/null
ln -sfn clusters/cluster-1/kubeconfig "$kubeconfig"

# Mizzen needs no more than the API: it starts while the node does. It is
# started anew if its binary changed, or if the cluster is another.
step "starting Mizzen"
bin/lab run --uses "$kubeconfig" mizzen \
	bin/mizzen up --kubeconfig "$kubeconfig" --state-dir "$MIZZEN_LAB/programs/mizzen" --listen 127.0.0.1:0 --log-format json
# The repository is that of the last time: it follows the address of the Git
# server, the sort of the nodes and the version, as far as the user has not
# changed it.
tracing=
case ${TRACING:-} in
1) tracing=--tracing=true ;;
0) tracing=--tracing=false ;;
*) [ -x bin/jaeger ] || tracing=--tracing=false ;; # nothing could run there
esac
# shellcheck disable=SC2086 # $tracing is one flag or none
bin/lab up $live --demo $tracing >/dev/null || {
	code=$?
	[ -z "$started" ] || bin/lab down # nothing stays of a lab that cannot start
	exit "$code"
}
url=$(bin/lab demo)
# status FIELD: a URL of the first cluster.
status() { bin/lab status -o json | sed -n 's/^ *"'"$1"'": "\(http[^"]*\)".*/\1/p' | head -n 1; }

address=
tries=0
until [ -n "$address" ] && curl -fsS -o /dev/null "http://$address/readyz" 2>/dev/null; do
	[ "$tries" -lt 600 ] || fail 3 "Mizzen is not ready after 60 s; see $log"
	address=$(sed -n 's/.*"msg":"listening","address":"\([^"]*\)".*/\1/p' "$log" | tail -n 1)
	tries=$((tries + 1))
	sleep 0.1
done

step "syncing the demo from $url"
# Pushes are announced, signed with a secret of this lab's own.
token=$MIZZEN_LAB/programs/webhook-token
[ -s "$token" ] || (umask 077 && od -An -tx1 -N32 /dev/urandom | tr -d ' \n' >"$token")
# For a moment after its CRDs are established, the API server knows them only
# in part.
tries=0
until answer=$({
	cat <<YAML
apiVersion: v1
kind: Secret
metadata: {name: demo-webhook, namespace: mizzen-system}
data: {token: $(base64 -w0 "$token")}
---
YAML
	git -C "$demo" show main:bootstrap.yaml
} | kubectl apply --server-side -f - 2>&1); do
	[ "$tries" -lt 150 ] || fail 2 "bootstrap.yaml of the demo is refused: $answer"
	tries=$((tries + 1))
	sleep 0.2
done
bin/lab git hook --only demo "http://$address/webhook" "$(cat "$token")"
if [ "$nodes" = live ]; then
	bin/lab expose mizzen "$address" # for Prometheus
fi
# What runs already may be ready as it was before: an Application that is new
# is waited for itself.
tracing=
if [ "$nodes" = live ] && git -C "$demo" show main:apps/values.yaml | grep -q '^tracing: true'; then
	tracing=application/tracing
	kubectl wait "$tracing" -n mizzen-system --for=create --timeout="${WAIT:-5m}" >/dev/null || :
fi
# shellcheck disable=SC2086 # $tracing is one name or none
if ! kubectl wait application/apps $tracing -n mizzen-system --for=condition=Ready --timeout="${WAIT:-5m}" >/dev/null; then
	kubectl get applications -n mizzen-system -o go-template='{{range .items}}{{$name := .metadata.name -}}
{{range .status.conditions}}{{if and (eq .type "Ready") (ne .status "True")}}{{$name}}: {{.message}}{{"\n"}}{{end}}{{else}}{{$name}}: nothing is known yet{{"\n"}}{{end}}{{end}}' >&2
	fail 3 "the demo is not synced after ${WAIT:-5m}, see above; 'bin/mizzen status APPLICATION' says more, and the log is $log"
fi
if [ "$nodes" = live ]; then
	gateway=$(status gateway)
	seconds=0
	until curl -fsS -o /dev/null -m 5 "$gateway/" 2>/dev/null; do
		[ "$seconds" -lt 60 ] || {
			kubectl get pods -A --field-selector spec.nodeName=lab-1 >&2
			fail 3 "the shop does not answer at $gateway; 'bin/lab logs NAMESPACE/POD' has the log of a pod above"
		}
		seconds=$((seconds + 1))
		sleep 1
	done
fi
. hack/try.sh
