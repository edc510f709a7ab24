# try.sh: what `make up` prints at its end. Sourced by up.sh, whose variables it
# uses.
applications=$(kubectl get applications -n mizzen-system --no-headers | wc -l)
echo
echo "The demo is synced: $applications Applications run as Git says."
echo
[ "$nodes" = kwok ] || echo "  shop         $gateway/"
echo "  Git          $url"
echo "  kubeconfig   $kubeconfig"
[ "$nodes" = kwok ] || echo "  Prometheus   $(status prometheus)"
[ -z "$tracing" ] || echo "  Jaeger       $(status tracing)"
cat <<TEXT
  logs         $log, and \`bin/lab logs\` for the lab
  webhooks     http://$address/webhook (metrics: /metrics)

Five things to try; first, so that everything is found from everywhere:

  export PATH=$PWD/bin:\$PATH KUBECONFIG=$kubeconfig MIZZEN_LAB=$MIZZEN_LAB
  cd "\$(mktemp -d)" && git clone $url && cd demo
  git config user.name Ada && git config user.email ada@example.test

TEXT
if [ "$nodes" = kwok ]; then
	cat <<TEXT
1. See what a change does before you push it: move reviews from 90/10 to 50/50.
     sed -i 's/weight: 90/weight: 50/; s/weight: 10/weight: 50/' mesh/reviews.yaml
     mizzen plan mesh
2. Push it, and see it applied about a second later.
     git commit -am 'Split reviews evenly' && git push
     mizzen history mesh
3. Break something by hand, and watch it come back.
     kubectl -n shop delete deployment reviews-v1; kubectl -n shop get deployments -w
TEXT
else
	cat <<TEXT
1. Put the shop under load, and see who answers: v1 of reviews nine times in ten.
     lab load start --qps 50; sleep 10
     lab load report
2. Send half of it to v2: see what that does before you push it, push, look again.
     sed -i 's/weight: 90/weight: 50/; s/weight: 10/weight: 50/' mesh/reviews.yaml
     mizzen plan mesh; git commit -am 'Split reviews evenly' && git push
     lab load stop; lab load start --qps 50; sleep 10; lab load report
3. Take the subsets away by hand, under load: they are back before many notice.
     kubectl -n shop delete destinationrule reviews-destination; lab load report
TEXT
fi
cat <<TEXT
4. Push something bad: what runs keeps running, and you are told file, line and remedy.
     sed -i 's/replicas:/replicsa:/' services/catalog/overlays/prod/replicas.yaml
     git commit -am 'Misspell replicas' && git push; sleep 3; mizzen status catalog
     git revert --no-edit HEAD && git push
5. Delete a file from Git, and see its objects pruned.
     kubectl -n shop get telemetries; git rm -q mesh/telemetry.yaml
     git commit -m 'Keep every label of the metrics' && git push; sleep 3; kubectl -n shop get telemetries

\`make down\` ends it all. A guided half hour: docs/tutorial.md
TEXT
if [ "$nodes" = kwok ]; then
	echo "LAB=kwok: the nodes are simulated, no pod runs and nothing carries traffic."
fi
