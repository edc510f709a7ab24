package analyze

import (
	"slices"
	"strings"
	"testing"
)

// proofs has a case for every rule: what the rule leaves out, that it is needed
// for it, and what it must not leave out.
var proofs = []struct {
	code, of, reason string
	// wrong is a repository of which the message would be said, and should
	// not; right is one of which it should.
	wrong, right string
	// known stands beside both; complete is for right.
	known    string
	complete bool
}{
	{
		code: "IST0102", reason: "a namespace without workloads needs no sidecars",
		wrong: "apiVersion: v1\nkind: Namespace\nmetadata: {name: empty}\n",
		right: "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\n" + deployment("shop"),
	},
	{
		code:   "IST0146",
		reason: "the labels of a namespace that no object describes are not known, nor is an injector that is installed from elsewhere",
		wrong:  autoImage, right: autoImage + injector + "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n",
	},
	{
		code: "IST0101", of: "selector", reason: "Istio's own charts install gateways that say what they are in the label istio",
		wrong: deployment("shop") + gateway("istio: egressgateway", ""), right: deployment("shop") + gateway("app: edge", ""),
	},
	{
		code: "IST0101", of: "selector", reason: "the workloads of a namespace without any are deployed by somebody else",
		wrong: gateway("app: edge", ""), right: deployment("shop") + gateway("app: edge", ""),
	},
	{
		code: "IST0101", of: "credentialName", reason: "certificates are seldom in Git: cert-manager, a vault or a person makes them",
		wrong: gateway("istio: ingressgateway", "g"), right: gateway("istio: ingressgateway", "g"), complete: true,
	},
	{
		code: "IST0101", of: "credentialName", reason: "an operator makes the Secret of another object",
		wrong: gateway("istio: ingressgateway", "made"), right: gateway("istio: ingressgateway", "g"), complete: true,
		known: "apiVersion: cert-manager.io/v1\nkind: Certificate\nmetadata: {name: c, namespace: istio-system}\nspec: {secretName: made}\n",
	},
	{
		code: "IST0101", of: "namespace", reason: "namespaces are made by the sync, or by who runs the cluster",
		wrong: shop + policy("elsewhere"), right: shop + policy("elsewhere"), complete: true,
	},
	{
		code: "IST0101", of: "gateway", reason: "a gateway of a namespace that is not known may be there",
		wrong: shop + behind("edge/g"), right: shop + behind("shop/g"),
	},
	{
		code: "IST0101", of: "host", reason: "a service of a namespace that is not known may be there",
		wrong: shop + routeTo("a.elsewhere.svc.cluster.local", ""), right: shop + routeTo("a.shop.svc.cluster.local", ""),
	},
	{
		code: "IST0101", of: "mirror host", reason: "a service of a namespace that is not known may be there",
		wrong: shop + mirrorTo("a.elsewhere.svc.cluster.local", ""), right: shop + mirrorTo("a.shop.svc.cluster.local", ""),
	},
	{
		code: "IST0101", of: "host+subset in destinationrule", reason: "a subset of a service that is not known may be there",
		wrong: shop + routeTo("a.elsewhere.svc.cluster.local", "v1"), right: shop + routeTo("reviews", "v1"),
	},
	{
		code: "IST0101", of: "mirror+subset in destinationrule", reason: "a subset of a service that is not known may be there",
		wrong: shop + mirrorTo("a.elsewhere.svc.cluster.local", "v1"), right: shop + mirrorTo("reviews", "v1"),
	},
	{
		code: "IST0174", reason: "a service of a namespace that is not known may be there",
		wrong: shop + destinationRule("a.elsewhere.svc.cluster.local"), right: shop + destinationRule("a"),
	},
	{
		code: "IST0174", reason: "a wildcard takes the hosts of Services, of all namespaces or of one",
		wrong: shop + destinationRule(`"*.local"`), right: shop + destinationRule(`"*.elsewhere.example"`),
	},
	{
		code: "IST0112", reason: "in the mesh a destination without a port gets the one that the request was sent to",
		wrong: twoPorts + virtualService("v", "[two]", "http: [{route: [{destination: {host: two}}]}]"),
		right: twoPorts + virtualService("v", "[reviews]", "http: [{route: [{destination: {host: two}}]}]"),
	},
	{
		code: "IST0127", reason: "the workloads of a namespace without any are deployed by somebody else",
		wrong: policy("shop"), right: shop + policy("shop"),
	},
	{
		code: "IST0132", reason: "that the gateway itself is missing is said by IST0101",
		wrong: shop + behind("shop/g"), right: shop + behind("shop/g") + gateway("istio: ingressgateway", "") + `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: w, namespace: shop}
spec: {hosts: [a.example.org], gateways: [h], http: [{route: [{destination: {host: reviews}}]}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: h, namespace: shop}
spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [b.example.org]}]}
`,
	},
	{
		code: "IST0161", reason: "the content of a Secret may be encrypted in Git, and is not asked of a cluster",
		wrong: gateway("istio: ingressgateway", "sealed"), right: gateway("istio: ingressgateway", "open") + secret("open"), known: secret("sealed"),
	},
	{
		code: "IST0162", reason: "the Service of a gateway that is not known may have the port",
		wrong: onPort("istio: ingressgateway"), right: shop + onPort("app: reviews"),
	},
	{
		code: "IST0139", reason: "the Service of a webhook is that of a control plane which is not known",
		wrong: webhook, right: webhook, complete: true,
	},
}

func deployment(namespace string) string {
	return "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d, namespace: " + namespace +
		"}\nspec: {selector: {matchLabels: {app: d}}, template: {metadata: {labels: {app: d}}, spec: {containers: [{name: d, image: d}]}}}\n---\n"
}

func policy(namespace string) string {
	return "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, namespace: shop}\n" +
		"spec: {selector: {matchLabels: {app: nobody}}, rules: [{from: [{source: {namespaces: [" + namespace + "]}}]}]}\n---\n"
}

func behind(gateway string) string {
	return virtualService("v", "[a.example.com]", "gateways: ["+gateway+"]\nhttp: [{route: [{destination: {host: reviews}}]}]")
}

func destination(host, subset string) string {
	if subset != "" {
		subset = ", subset: " + subset
	}
	return "{host: " + host + subset + "}"
}

func routeTo(host, subset string) string {
	return virtualService("v", "[reviews]", "http: [{route: [{destination: "+destination(host, subset)+"}]}]")
}

func mirrorTo(host, subset string) string {
	return virtualService("v", "[reviews]", "http: [{route: [{destination: {host: reviews}}], mirror: "+destination(host, subset)+"}]")
}

func destinationRule(host string) string {
	return "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: r, namespace: shop}\nspec: {host: " + host + "}\n---\n"
}

func onPort(selector string) string {
	return "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: g, namespace: shop}\nspec: {selector: {" + selector +
		"}, servers: [{port: {number: 9999, name: http, protocol: HTTP}, hosts: ['*']}]}\n---\n"
}

const twoPorts = shop + "apiVersion: v1\nkind: Service\nmetadata: {name: two, namespace: shop}\n" +
	"spec: {selector: {app: reviews}, ports: [{name: http, port: 80}, {name: http-more, port: 81}]}\n---\n"

func secret(name string) string {
	return "apiVersion: v1\nkind: Secret\nmetadata: {name: " + name + ", namespace: istio-system}\ntype: kubernetes.io/tls\ndata: {tls.crt: eA==, tls.key: eA==}\n---\n"
}

const webhook = `
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: istio-sidecar-injector, labels: {app: sidecar-injector}}
webhooks:
- name: rev.namespace.sidecar-injector.istio.io
  clientConfig: {service: {name: istiod, namespace: istio-system, path: /inject}}
  namespaceSelector: {matchLabels: {istio-injection: enabled}}
  sideEffects: None
  admissionReviewVersions: [v1]
`

// says tells whether a repository has a Finding of the code, about of.
func says(t *testing.T, manifests, known string, complete bool, code, of string) bool {
	t.Helper()
	for _, line := range brief(judge(t, manifests, known, complete)) {
		if strings.HasPrefix(line, code) && (of == "" || strings.Contains(line, "referenced "+of+" not found")) {
			return true
		}
	}
	return false
}

func TestRules(t *testing.T) {
	all := rules
	t.Cleanup(func() { rules = all })
	proven := map[int]bool{}
	for _, p := range proofs {
		t.Run(p.code+" "+p.reason, func(t *testing.T) {
			rules = all
			i := slices.IndexFunc(all, func(r rule) bool { return r.code == p.code && r.of == p.of && r.reason == p.reason })
			if i < 0 {
				t.Fatal("there is no such rule")
			}
			proven[i] = true
			complete := p.complete && p.wrong != p.right
			if says(t, p.wrong, p.known, complete && p.known != "", p.code, p.of) {
				t.Error("it is said although the rule is there")
			}
			if !says(t, p.right, p.known, p.complete, p.code, p.of) {
				t.Errorf("it is not said where it holds: %v", brief(judge(t, p.right, p.known, p.complete)))
			}
			rules = slices.Delete(slices.Clone(all), i, i+1)
			if !says(t, p.wrong, p.known, complete, p.code, p.of) {
				t.Errorf("it is not said without the rule either, so nothing is proven: %v", brief(judge(t, p.wrong, p.known, complete)))
			}
		})
	}
	for i, r := range all {
		if !proven[i] {
			t.Errorf("no proof of the rule %s %s: %s", r.code, r.of, r.reason)
		}
	}
}

// autoImage is a gateway whose image the injector fills in.
const autoImage = `apiVersion: apps/v1
kind: Deployment
metadata: {name: edge, namespace: shop}
spec:
  selector: {matchLabels: {app: edge}}
  template:
    metadata: {labels: {app: edge}}
    spec: {containers: [{name: istio-proxy, image: auto}]}
`

const injector = `---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: istio-sidecar-injector}
webhooks:
- name: namespace.sidecar-injector.istio.io
  admissionReviewVersions: [v1]
  sideEffects: None
  clientConfig: {url: https://istiod.example/inject}
  namespaceSelector: {matchLabels: {istio-injection: enabled}}
`
