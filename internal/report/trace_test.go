package report

import (
	"bytes"
	"strings"
	"testing"

	"mizzen.dev/mizzen"
)

func meshRule(kind, name string, path mizzen.Path, line int) mizzen.TraceRule {
	return mizzen.TraceRule{
		Ref: mizzen.Ref{Group: "networking.istio.io", Kind: kind, Namespace: "shop", Name: name}, Path: path,
		Origin: mizzen.Origin{File: "mesh/reviews.yaml", Line: line},
	}
}

// sampleTrace has everything that a trace may say, in unlikely company.
func sampleTrace() *mizzen.Trace {
	rule := meshRule("VirtualService", "reviews", "spec.http[1]", 35)
	return &mizzen.Trace{
		Request: mizzen.TraceRequest{
			From: "shop/web", Caller: "shop/web-v1", Method: "GET", URL: "http://reviews/a|b`" + hostile, Host: "reviews.shop.svc.cluster.local", Port: 80,
			Headers: []mizzen.TraceHeader{{Name: "end-user", Value: hostile}},
		},
		Fate: mizzen.FatePartly,
		Outcomes: []mizzen.TraceOutcome{
			{Percent: 67.5, Fate: mizzen.FateServed, By: "shop/reviews-v1", Message: "shop/reviews-v1 gets it at port 8080"},
			{Percent: 22.5, Fate: mizzen.FateUnknown, By: "shop/reviews-v2", Message: "shop/reviews-v2 gets it at port 8080, unless it is refused before"},
			{Percent: 10, Fate: mizzen.FateFails, Status: 503, By: "shop/web-v1", Message: "a failure is injected on purpose " + hostile, Rule: rule},
		},
		Hops:  []mizzen.TraceHop{sampleCaller(rule), sampleServer()},
		Notes: []string{"istiod ignores something " + hostile},
	}
}

func sampleCaller(rule mizzen.TraceRule) mizzen.TraceHop {
	return mizzen.TraceHop{
		Workload: "shop/web-v1", Direction: mizzen.TraceOutbound, Proxy: true, Percent: 100, Listener: "0.0.0.0_80", FilterChain: "0.0.0.0_80",
		Security: "plaintext", VirtualHost: "reviews.shop.svc.cluster.local:80", Route: "split", Rule: rule,
		Tried: []mizzen.TraceTried{
			{Route: "a", Rule: meshRule("VirtualService", "reviews", "spec.http[0].match[0]", 30), Reason: `header end-user: absent, wanted exact "jason"`},
			{Route: "made by a filter " + hostile, Reason: "path /b is not exact /a"},
		},
		Treatment: mizzen.TraceTreatment{
			TimeoutMilliseconds: 1500, Path: "/new", Host: "other.example",
			Retries: &mizzen.TraceRetries{Attempts: 2, On: []string{"5xx", "reset"}, PerTryMilliseconds: 2000},
			Mirrors: []mizzen.TraceMirror{{Host: "audit.shop.svc.cluster.local", Port: 80, Subset: "v1", Percent: 12.5}},
			Delay:   &mizzen.TraceFault{Percent: 5, Milliseconds: 3000}, Abort: &mizzen.TraceFault{Percent: 10, Status: 503},
			Headers: []mizzen.TraceHeader{{Name: "x-a", Value: hostile, Action: "set", On: "request"}, {Name: "server", Action: "remove", On: "response"}},
		},
		Destinations: []mizzen.TraceDestination{
			{
				Percent: 75, Cluster: "outbound|80|v1|reviews.shop.svc.cluster.local", Host: "reviews.shop.svc.cluster.local", Port: 80, Subset: "v1",
				Origin: mizzen.Origin{File: "mesh/reviews.yaml", Line: 37}, Rule: meshRule("DestinationRule", "reviews", "", 3),
				Headers:   []mizzen.TraceHeader{{Name: "x-version", Value: "1", Action: "append", On: "request"}},
				Workloads: []mizzen.TraceEndpoint{{Workload: "shop/reviews-v1", Percent: 50, Security: "mTLS"}, {Workload: "shop/old", Percent: 50, Security: "plaintext"}},
			},
			{Percent: 25, Cluster: "custom " + hostile, Fails: "it selects no workload"},
		},
	}
}

func sampleServer() mizzen.TraceHop {
	return mizzen.TraceHop{
		Workload: "shop/reviews-v1", Direction: mizzen.TraceInbound, Proxy: true, Percent: 67.5, Listener: "virtualInbound", FilterChain: "0.0.0.0_8080",
		Security: "mTLS", Peer: "cluster.local/ns/shop/sa/web", Accepts: []string{"mTLS", "plaintext"}, Port: 8080,
		Policies: []mizzen.TracePolicy{
			{Rule: meshRule("AuthorizationPolicy", "no-delete", "spec.rules[0]", 9), Action: "DENY", Result: "does not match", Reason: "the method is GET"},
			{Rule: meshRule("AuthorizationPolicy", "reviews", "spec.rules[1]", 20), Action: "ALLOW", Result: "allows"},
			{Name: "opa.shop:9191", Action: "CUSTOM", Result: "unknown", Reason: "it is asked " + hostile},
		},
		Answer: "nothing " + hostile,
	}
}

// TestTraceMarkdownCannotBeLeft: what a repository writes stays in its cell or
// its fence.
func TestTraceMarkdownCannotBeLeft(t *testing.T) {
	trace := sampleTrace()
	trace.Hops[0].Workload = "```\n# mine\n````"
	trace.Outcomes[0].Message = "a | b <script> `x`"
	var b bytes.Buffer
	if err := TraceMarkdown(&b, trace); err != nil {
		t.Fatal(err)
	}
	_, hops, _ := strings.Cut(b.String(), "</summary>\n\n")
	fence, _, _ := strings.Cut(hops, "\n")
	if strings.Count(b.String(), fence) != 2 || strings.Contains(b.String(), "<script>") || !strings.Contains(b.String(), `a \| b`) {
		t.Errorf("%s", b.String())
	}
}
