package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"mizzen.dev/mizzen"
)

// shop is a small mesh: web may call reviews, but for one path.
const shop = `apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: shop}
spec: {selector: {app: reviews}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: reviews, namespace: shop}
spec:
  selector: {matchLabels: {app: reviews}}
  template:
    metadata: {labels: {app: reviews}}
    spec: {containers: [{name: app, image: reviews:v1}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {serviceAccountName: web, containers: [{name: app, image: web:v1}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: shop}
spec:
  hosts: [reviews]
  http:
  - match:
    - headers: {end-user: {exact: jason}}
    route: [{destination: {host: reviews}, headers: {request: {set: {x-beta: "1"}}}}]
    timeout: 1500ms
  - route: [{destination: {host: reviews}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: reviews, namespace: shop}
spec:
  selector: {matchLabels: {app: reviews}}
  action: DENY
  rules: [{to: [{operation: {paths: [/closed]}}]}]
`

func TestTrace(t *testing.T) {
	t.Chdir(write(t, map[string]string{"mesh.yaml": shop}))
	t.Setenv("KUBECONFIG", "/no/such/file")
	got := must(t, ExitYes, "trace --from shop/web GET http://reviews/a .")
	mentions(t, got.out, "GET http://reviews/a from shop/web", "served: shop/reviews gets it at port 8080",
		"VirtualService shop/reviews spec.http[1]  mesh.yaml:", `header end-user: absent, wanted exact "jason"`, "mTLS by cluster.local/ns/shop/sa/web")
	mentions(t, got.err, "5 objects rendered")
	mentions(t, must(t, ExitYes, "trace --from web http://reviews:80/ -H end-user:jason").out, "timeout    1500 ms", "request, set x-beta: 1")
	mentions(t, must(t, ExitNo, "trace --from shop/web http://reviews/closed").out, "fails 403", "AuthorizationPolicy shop/reviews spec.rules[0]  mesh.yaml:")
	mentions(t, must(t, ExitNo, "trace --from shop/web http://reviews/closed -o markdown").out, "fails 403", "<details><summary>2 hops</summary>")
	for args, want := range map[string]string{
		"trace --from shop/wep http://reviews/":              "did you mean shop/web",
		"trace --from shop/web http://review/":               "did you mean reviews?",
		"trace --from shop/web ftp://reviews/":               "the scheme is http, https, grpc, tcp or tls",
		"trace http://reviews/":                              "no workload is a gateway",
		"trace --from shop/web GET":                          "there is no URL",
		"trace --from shop/web http://reviews/ -H nonsense":  "write it as 'name: value'",
		"trace --from shop/web http://reviews/ --claims [":   "--claims",
		"trace --from shop/web http://reviews/ nowhere":      "nowhere",
		"trace --from shop/web http://r/ --revision main .":  "it is in no clone",
		"trace --from shop/web http://r/ --cluster east .":   "nothing goes there",
		"trace --from shop/web http://r/ --mesh-config none": "--mesh-config",
	} {
		mentions(t, must(t, ExitUnknown, args).err, want)
	}
}

func TestTraceIsDocumented(t *testing.T) {
	reference := readReference(t)
	t.Chdir(write(t, map[string]string{"mesh.yaml": shop}))
	t.Setenv("KUBECONFIG", "/no/such/file")
	out := must(t, ExitNo, "trace --from shop/web http://reviews/closed -H end-user:jason -o json").out
	reference.check(t, "trace", out)
	var trace mizzen.Trace
	if err := json.Unmarshal([]byte(out), &trace); err != nil {
		t.Fatal(err)
	}
	if trace.Fate != mizzen.FateFails || len(trace.Hops) != 2 || trace.Hops[1].Peer != "cluster.local/ns/shop/sa/web" {
		t.Errorf("%+v", trace)
	}
}

// TestTraceRevision: what was committed is asked, not what is there now.
func TestTraceRevision(t *testing.T) {
	t.Chdir(write(t, map[string]string{"mesh.yaml": shop}))
	t.Setenv("KUBECONFIG", "/no/such/file")
	gitIn(t, "init", "-q", "-b", "main")
	gitIn(t, "add", "-A")
	gitIn(t, "commit", "-qm", "base")
	put(t, "mesh.yaml", strings.ReplaceAll(shop, "/closed", "/open"))
	must(t, ExitYes, "trace --from shop/web http://reviews/closed")
	must(t, ExitNo, "trace --from shop/web http://reviews/closed --revision main")
}
