package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing/fstest"
	"time"

	"istio.io/istio/pkg/config/analysis/analyzers"
	"istio.io/istio/pkg/config/analysis/local"
	"istio.io/istio/pkg/log"

	"mizzen.dev/mizzen/internal/meshtest"
	"mizzen.dev/mizzen/internal/traffic/analyze"
)

// analysis compares Findings of Istio objects with the messages of Istio's
// analyzers alone, as istioctl runs them over the same manifests.
func analysis(ctx context.Context, b *bench) error {
	for _, scope := range log.Scopes() {
		scope.SetOutputLevel(log.NoneLevel) // as in Mizzen's workers
	}
	namespaces := b.n(25)
	all := analyzed(namespaces)
	files := fstest.MapFS{"all.yaml": &fstest.MapFile{Data: []byte(all)}}
	alone := all + analyzedPods(namespaces)
	var read, ours, theirsRead, theirs, ratios, whole []float64
	for run := range b.runs + 1 {
		begin := time.Now()
		objects, err := meshtest.Read(files)
		if err != nil {
			return err
		}
		reading := time.Since(begin)
		begin = time.Now()
		findings, err := analyze.Analyze(ctx, objects, analyze.Known{}, analyze.Options{})
		if err != nil {
			return err
		}
		if len(findings) != 0 {
			return fmt.Errorf("mizzen finds %d things wrong, such as %s", len(findings), findings[0].Message)
		}
		judging := time.Since(begin)
		preparing, analyzing, err := istioAlone(alone)
		if err != nil {
			return err
		}
		if run == 0 {
			continue // what is made once is made
		}
		read, ours = append(read, reading.Seconds()), append(ours, judging.Seconds())
		theirsRead, theirs = append(theirsRead, preparing.Seconds()), append(theirs, analyzing.Seconds())
		ratios = append(ratios, judging.Seconds()/analyzing.Seconds())
		whole = append(whole, (reading+judging).Seconds()/(preparing+analyzing).Seconds())
	}
	b.results.keep("analysis/seconds", ours...)
	b.results.keep("analysis/read-seconds", read...)
	b.results.keep("analysis/istio-seconds", theirs...)
	b.results.keep("analysis/istio-read-seconds", theirsRead...)
	b.results.keep("analysis/ratio", ratios...)
	b.results.keep("analysis/ratio-from-manifests", whole...)
	b.results.add(fmt.Sprintf("Findings of %d Istio objects that are read, seconds", 40*namespaces), spread(ours, "%.2f"), "", b.times())
	b.results.add("Istio's analyzers alone over the same, seconds", spread(theirs, "%.2f"), "", b.times())
	b.results.add("analysis, ratio to Istio's analyzers alone", spread(ratios, "%.2f"), "<= 1.3", b.times())
	b.results.add("analysis with the reading of manifests, ratio to that of Istio", spread(whole, "%.2f"), "", b.times())
	return nil
}

// istioAlone returns how long Istio's analyzers take to read manifests, and to
// find nothing wrong with them.
func istioAlone(manifests string) (reading, analyzing time.Duration, err error) {
	begin := time.Now()
	a := local.NewIstiodAnalyzer(analyzers.AllCombined(), "", "istio-system", nil)
	if err := a.AddTestReaderKubeSource([]local.ReaderSource{{Name: "all.yaml", Reader: strings.NewReader(manifests)}}); err != nil {
		return 0, 0, err
	}
	if err := a.AddDefaultResources(); err != nil {
		return 0, 0, err
	}
	reading = time.Since(begin)
	cancel := make(chan struct{})
	defer close(cancel)
	begin = time.Now()
	result, err := a.Analyze(cancel)
	if err != nil {
		return 0, 0, err
	}
	if len(result.Messages) != 0 {
		return 0, 0, fmt.Errorf("istio finds %d things wrong", len(result.Messages))
	}
	return reading, time.Since(begin), nil
}

// analyzed are ten services in each namespace, with four Istio objects each.
func analyzed(namespaces int) string {
	var b bytes.Buffer
	for ns := range namespaces {
		fmt.Fprintf(&b, "apiVersion: v1\nkind: Namespace\nmetadata: {name: ns-%d, labels: {istio-injection: enabled}}\n---\n", ns)
		for n := range 10 {
			fmt.Fprintf(&b, analyzedService, ns, n, (n+1)%10)
		}
	}
	return b.String()
}

// analyzedService is a service of analyzed.
const analyzedService = `
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

// analyzedPods are what the analyzers alone need to look at all that ours look
// at.
func analyzedPods(namespaces int) string {
	var b strings.Builder
	for ns := range namespaces {
		for n := range 10 {
			fmt.Fprintf(&b, "apiVersion: v1\nkind: Pod\nmetadata: {name: s-%[2]d, namespace: ns-%[1]d, labels: {app: s-%[2]d, version: v1}}\n"+
				"spec: {containers: [{name: s, image: s}, {name: istio-proxy, image: proxyv2}]}\n---\n", ns, n)
		}
	}
	return b.String() + "apiVersion: v1\nkind: Node\nmetadata: {name: node}\nspec: {}\n"
}
