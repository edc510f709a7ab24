package cli

import (
	"strings"
	"testing"
)

// committed makes the working directory a clone with these files.
func committed(t *testing.T, files map[string]string) {
	t.Helper()
	t.Chdir(write(t, files))
	t.Setenv("KUBECONFIG", "/no/such/file")
	gitIn(t, "init", "-q", "-b", "main")
	gitIn(t, "add", "-A")
	gitIn(t, "commit", "-qm", "base")
}

const gateway = `---
apiVersion: v1
kind: Service
metadata: {name: ingress, namespace: shop}
spec: {selector: {istio: ingressgateway}, ports: [{name: http, port: 80, targetPort: 8080}, {name: https, port: 443, targetPort: 8443}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: ingress, namespace: shop}
spec:
  selector: {matchLabels: {istio: ingressgateway}}
  template:
    metadata: {labels: {istio: ingressgateway}, annotations: {inject.istio.io/templates: gateway}}
    spec: {containers: [{name: istio-proxy, image: auto}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: public, namespace: shop}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: [shop.example.com, api.example.com]}
  - {port: {number: 443, name: https, protocol: HTTPS}, hosts: [shop.example.com], tls: {mode: MUTUAL, credentialName: shop}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: public, namespace: shop}
spec:
  hosts: [shop.example.com, api.example.com]
  gateways: [public]
  http: [{route: [{destination: {host: reviews}}]}]
`

// A gateway gives up a host: its clients get 404, and somebody has to agree, as
// where a route leads nowhere.
func TestHostThatLeavesTheGateway(t *testing.T) {
	committed(t, map[string]string{"mesh.yaml": shop + gateway, "CODEOWNERS": "* @platform\n"})
	put(t, "mesh.yaml", strings.Replace(shop+gateway, "[shop.example.com, api.example.com]}", "[shop.example.com]}", 1))
	mentions(t, must(t, ExitNo, "plan --base HEAD --fail-on approval").out,
		"danger MT4002 api.example.com:80: the gateway no longer serves requests for api.example.com/*  mesh.yaml:",
		"approval requests-fail: requests that were served are refused",
		"MT4002 api.example.com:80: the gateway no longer serves",
		"keep the route, the subset, the service or the host of the gateway until nobody calls it",
		"1 of @platform for")
}

// A gateway asks its clients for no certificate any more: that is more than
// another certificate.
func TestClientCertificatesThatAreNoLongerAskedFor(t *testing.T) {
	committed(t, map[string]string{"mesh.yaml": shop + gateway})
	put(t, "mesh.yaml", strings.Replace(shop+gateway, "MUTUAL", "SIMPLE", 1))
	mentions(t, must(t, ExitNo, "plan --base HEAD --fail-on approval").out,
		"danger MT4003 shop.example.com:443: TLS at the gateway becomes weaker  mesh.yaml:",
		"approval tls-weakened: connections are less protected than they were",
		"keep the mode, the client certificates and the least version of TLS that there were")
}

// A misspelled policy stops every change until one mends it, and what mends it
// needs an approval.
func TestMisspelledPolicy(t *testing.T) {
	const wrong = "policy:\n  guardrail: {mtls-weakened: deny}\n"
	committed(t, map[string]string{"mesh.yaml": shop, ".mizzen.yaml": wrong, "CODEOWNERS": ".mizzen.yaml @security\n"})
	put(t, "mesh.yaml", strings.Replace(shop, "1500ms", "2s", 1))
	mentions(t, must(t, ExitNo, "plan --base HEAD --fail-on deny").out,
		"verdict: denied by 1 rule",
		"deny policy-unreadable: the policy cannot be read, so that its rules cannot be asked",
		`MZ1011 .mizzen.yaml: unknown field "guardrail"  .mizzen.yaml:2`,
		"mend the file, in this change or before it",
		"the fields here are: guardrails, rules, scopes, stateful")
	put(t, ".mizzen.yaml", strings.Replace(wrong, "guardrail:", "guardrails:", 1))
	must(t, ExitYes, "plan --base HEAD --fail-on deny")
	mentions(t, must(t, ExitNo, "plan --base HEAD --fail-on approval").out,
		"approval guard-changed: the change touches its own guard", "1 of @security for .mizzen.yaml",
		"the policy of the base cannot be read, and the change mends it")
}

// A chart that CI completes cannot be rendered, before and after. Nobody is
// stopped by that, but who changes its values is told that nobody knows what
// comes of it.
func TestChartThatFailsAsBefore(t *testing.T) {
	committed(t, map[string]string{
		"web/Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n", "web/values.yaml": "mode: STRICT\n",
		"web/templates/mtls.yaml": "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: {{ required \"the cluster is set by CI\" .Values.cluster }}}\nspec: {mtls: {mode: {{ .Values.mode }}}}\n",
		"README.md":               "x",
	})
	put(t, "README.md", "y")
	mentions(t, must(t, ExitYes, "plan --base HEAD").out, "web: cannot be rendered, as before", "nothing changes")
	put(t, "web/values.yaml", "mode: DISABLE\n")
	for _, on := range []string{"change", "approval"} {
		got := must(t, ExitNo, "plan --base HEAD --fail-on "+on).out
		mentions(t, got,
			"approval not-covered: something changes where the plan cannot look",
			"web/values.yaml changes below web, and what that does is not known: it cannot be rendered, as before:",
			"the cluster is set by CI",
			"mend what keeps it from being rendered, in this change or before it",
			"what 1 application does is not known; needs approval")
		if strings.Contains(got, "nothing changes") {
			t.Error(got)
		}
	}
}

// An ApplicationSet is for Argo CD to expand. Who changes what it deploys is told
// that the plan does not cover it, and how to look at it.
func TestDirectoryOfAnApplicationSet(t *testing.T) {
	const mtls = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: default, namespace: shop}\nspec: {mtls: {mode: STRICT}}\n"
	committed(t, map[string]string{
		"argo/set.yaml": "apiVersion: argoproj.io/v1alpha1\nkind: ApplicationSet\nmetadata: {name: all, namespace: argocd}\nspec:\n" +
			"  generators: [{git: {repoURL: https://git.example/shop, directories: [{path: apps/*}]}}]\n" +
			"  template: {spec: {source: {repoURL: https://git.example/shop, path: '{{path}}'}}}\n",
		"apps/security/mtls.yaml": mtls, "apps/shop/mesh.yaml": shop, "README.md": "x",
	})
	put(t, "README.md", "y")
	mentions(t, must(t, ExitYes, "plan --base HEAD").out, "nothing changes", "argocd/all: an ApplicationSet is not expanded")
	put(t, "apps/security/mtls.yaml", strings.Replace(mtls, "STRICT", "PERMISSIVE", 1))
	mentions(t, must(t, ExitNo, "plan --base HEAD").out,
		"approval not-covered: something changes where the plan cannot look",
		"MZ1012 argoproj.io/ApplicationSet argocd/all: apps/security/mtls.yaml changes below argocd/all, and what that does is not known: an ApplicationSet is not expanded",
		"look at it by itself, as by 'mizzen plan --base REVISION apps/security', or commit what it generates")
	mentions(t, must(t, ExitNo, "plan --base HEAD apps/security").out, "danger MT3001")
}
