package analyze

import (
	"fmt"
	"strings"
	"testing"

	"istio.io/istio/pkg/config/analysis/analyzers"
	"istio.io/istio/pkg/config/analysis/local"

	"mizzen.dev/mizzen/internal/meshtest"
)

// thousand is 250 services with four Istio objects each.
func thousand() string {
	var b strings.Builder
	for ns := range 25 {
		fmt.Fprintf(&b, "apiVersion: v1\nkind: Namespace\nmetadata: {name: ns-%d, labels: {istio-injection: enabled}}\n---\n", ns)
		for n := range 10 {
			fmt.Fprintf(&b, service, ns, n, (n+1)%10)
		}
	}
	return b.String()
}

const service = `
apiVersion: v1
kind: Service
metadata: {name: s-%[2]d, namespace: ns-%[1]d}
spec: {selector: {app: s-%[2]d}, ports: [{name: http, port: 80, protocol: TCP, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: s-%[2]d, namespace: ns-%[1]d}
spec:
  selector: {matchLabels: {app: s-%[2]d}}
  template:
    metadata: {labels: {app: s-%[2]d, version: v1}}
    spec: {containers: [{name: s, image: s}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: s-%[2]d, namespace: ns-%[1]d}
spec:
  hosts: [s-%[2]d]
  http:
  - {match: [{uri: {prefix: /a}}, {headers: {who: {regex: 'a.*'}}}], route: [{destination: {host: s-%[2]d, subset: v1}, weight: 90}, {destination: {host: s-%[3]d}, weight: 10}]}
  - {route: [{destination: {host: s-%[2]d, subset: v1}}], timeout: 5s, retries: {attempts: 2, perTryTimeout: 1s}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: s-%[2]d, namespace: ns-%[1]d}
spec: {host: s-%[2]d, subsets: [{name: v1, labels: {version: v1}}], trafficPolicy: {outlierDetection: {consecutive5xxErrors: 3}}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: s-%[2]d, namespace: ns-%[1]d}
spec: {selector: {matchLabels: {app: s-%[2]d}}, rules: [{from: [{source: {namespaces: [ns-%[1]d]}}], to: [{operation: {methods: [GET]}}]}]}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: s-%[2]d, namespace: ns-%[1]d}
spec: {workloadSelector: {labels: {app: s-%[2]d}}, egress: [{hosts: ['./*', 'istio-system/*']}]}
---
`

// pods are what the analyzers alone need to look at all that ours look at.
func pods() string {
	var b strings.Builder
	for ns := range 25 {
		for n := range 10 {
			fmt.Fprintf(&b, "apiVersion: v1\nkind: Pod\nmetadata: {name: s-%[2]d, namespace: ns-%[1]d, labels: {app: s-%[2]d, version: v1}}\n"+
				"spec: {containers: [{name: s, image: s}, {name: istio-proxy, image: proxyv2}]}\n---\n", ns, n)
		}
	}
	return b.String() + "apiVersion: v1\nkind: Node\nmetadata: {name: node}\nspec: {}\n"
}

// Compare with BenchmarkIstio: Findings of 1,000 Istio objects.
func BenchmarkAnalyze(b *testing.B) {
	objects := meshtest.Objects(b, thousand())
	for b.Loop() {
		findings, err := Analyze(b.Context(), objects, Known{}, Options{})
		if err != nil || len(findings) != 0 {
			b.Fatal(brief(findings), err)
		}
	}
}

// The messages of the analyzers alone, as istioctl runs them, pods included.
func BenchmarkIstio(b *testing.B) {
	manifests := thousand() + pods()
	for b.Loop() {
		if n := len(messages(b, prepared(b, manifests))); n != 0 {
			b.Fatal(n)
		}
	}
}

// The same without reading YAML.
func BenchmarkIstioPrepared(b *testing.B) {
	manifests := thousand() + pods()
	for b.Loop() {
		b.StopTimer()
		a := prepared(b, manifests)
		b.StartTimer()
		if n := len(messages(b, a)); n != 0 {
			b.Fatal(n)
		}
	}
}

func prepared(b *testing.B, manifests string) *local.IstiodAnalyzer {
	b.Helper()
	a := local.NewIstiodAnalyzer(analyzers.AllCombined(), "", "istio-system", nil)
	if err := a.AddTestReaderKubeSource([]local.ReaderSource{{Name: "all.yaml", Reader: strings.NewReader(manifests)}}); err != nil {
		b.Fatal(err)
	}
	if err := a.AddDefaultResources(); err != nil {
		b.Fatal(err)
	}
	return a
}

func messages(b *testing.B, a *local.IstiodAnalyzer) []string {
	b.Helper()
	cancel := make(chan struct{})
	defer close(cancel)
	result, err := a.Analyze(cancel)
	if err != nil {
		b.Fatal(err)
	}
	var all []string
	for _, m := range result.Messages {
		all = append(all, m.String())
	}
	return all
}
