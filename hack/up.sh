#!/bin/sh
# up.sh: start the lab and Mizzen in the background, and return when the demo is
# synced. What runs already is kept; what was killed is started again. State
# and logs are in .lab (or $MIZZEN_LAB). `make up` builds first.
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

bin/lab doctor >"${TMPDIR:-/tmp}/mizzen-doctor.$$" || {
	grep -v '^ok' "${TMPDIR:-/tmp}/mizzen-doctor.$$" >&2
	rm -f "${TMPDIR:-/tmp}/mizzen-doctor.$$"
	fail 2 "this machine lacks what the lab needs, see above"
}
rm -f "${TMPDIR:-/tmp}/mizzen-doctor.$$"

step "starting Kubernetes and a Git server"
bin/lab up --demo >/dev/null
ln -sfn clusters/cluster-1/kubeconfig "$kubeconfig"
url=$(bin/lab demo)

# The Git server keeps its port as long as nobody else takes it. If somebody
# did, the repository still says the old one.
if ! git -C "$demo" show main:bootstrap.yaml | grep -qF "url: $url"; then
	clone=$(mktemp -d)
	git clone -q "$url" "$clone"
	sed -i "s|http://127\.0\.0\.1:[0-9]*/demo\.git|$url|" "$clone/bootstrap.yaml" "$clone/apps/values.yaml"
	git -C "$clone" -c user.name="Mizzen Demo" -c user.email=demo@mizzen.dev commit -qam "Follow the Git server to its new address"
	git -C "$clone" push -q
	rm -rf "$clone"
fi

# Mizzen is started anew if its binary changed, or if the cluster is another.
step "starting Mizzen"
bin/lab run --uses "$kubeconfig" mizzen \
	bin/mizzen up --kubeconfig "$kubeconfig" --state-dir "$MIZZEN_LAB/programs/mizzen" --listen 127.0.0.1:0 --log-format json
seconds=0
address=
until [ -n "$address" ] && curl -fsS -o /dev/null "http://$address/readyz" 2>/dev/null; do
	[ "$seconds" -lt 60 ] || fail 3 "Mizzen is not ready after 60 s; see $log"
	address=$(sed -n 's/.*"msg":"listening","address":"\([^"]*\)".*/\1/p' "$log" | tail -n 1)
	seconds=$((seconds + 1))
	sleep 1
done

# Pushes are announced, signed with a secret of this lab's own.
token=$MIZZEN_LAB/programs/webhook-token
[ -s "$token" ] || (umask 077 && od -An -tx1 -N32 /dev/urandom | tr -d ' \n' >"$token")
kubectl create secret generic demo-webhook -n mizzen-system --from-file=token="$token" --dry-run=client -o yaml |
	kubectl apply --server-side -f - >/dev/null
bin/lab git hook --only demo "http://$address/webhook" "$(cat "$token")"

step "syncing the demo from $url"
# For a moment after its CRDs are established, the API server knows them only
# in part.
seconds=0
until answer=$(git -C "$demo" show main:bootstrap.yaml | kubectl apply --server-side -f - 2>&1); do
	[ "$seconds" -lt 30 ] || fail 2 "bootstrap.yaml of the demo is refused: $answer"
	seconds=$((seconds + 1))
	sleep 1
done
if ! kubectl wait application/apps -n mizzen-system --for=condition=Ready --timeout=5m >/dev/null; then
	kubectl get applications -n mizzen-system -o wide >&2
	fail 3 "the demo is not synced after 5 minutes; see $log"
fi

cat <<TEXT

The demo is synced: $(kubectl get applications -n mizzen-system --no-headers | wc -l) Applications run as Git says.

  Git          $url
  kubeconfig   $kubeconfig
  logs         $log, and \`bin/lab logs\` for the lab
  webhooks     http://$address/webhook (metrics: /metrics)

Five things to try; first, so that everything is found from everywhere:

  export PATH=$PWD/bin:\$PATH KUBECONFIG=$kubeconfig
  git clone $url /tmp/demo && cd /tmp/demo
  git config user.name Ada && git config user.email ada@example.test

1. See what a change does before you push it: move reviews from 90/10 to 50/50.
     sed -i 's/weight: 90/weight: 50/; s/weight: 10/weight: 50/' mesh/reviews.yaml
     mizzen plan mesh
2. Push it, and see it applied about a second later.
     git commit -am 'Split reviews evenly' && git push
     mizzen history mesh
3. Break something by hand, and watch it come back.
     kubectl -n shop delete deployment reviews-v1; kubectl -n shop get deployments -w
4. Push something bad: what runs keeps running, and you are told file, line and remedy.
     sed -i 's/replicas:/replicsa:/' services/catalog/overlays/prod/replicas.yaml
     git commit -am 'Misspell replicas' && git push; mizzen status catalog
     git revert --no-edit HEAD && git push
5. Delete a part from Git, and see it pruned.
     sed -i 's/, payments]/]/' apps/values.yaml
     git commit -am 'Drop payments' && git push; kubectl -n shop get deployments -w

\`make down\` ends it all. A guided half hour: docs/tutorial.md
TEXT
