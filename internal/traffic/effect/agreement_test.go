package effect_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
	"mizzen.dev/mizzen/internal/traffic/effect/scenario"
	"mizzen.dev/mizzen/internal/traffic/match"
	"mizzen.dev/mizzen/internal/traffic/trace"
)

// TestAgreement holds effects against what 'mizzen trace' says of requests on
// both sides: where it tells another fate, status, server or share, there must
// be an effect about the host, or about a workload on the way.
func TestAgreement(t *testing.T) {
	for _, dir := range []string{"testdata", "testdata/elsewhere"} {
		all, err := scenario.ReadAll(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range all {
			t.Run(s.Name, func(t *testing.T) { agree(t, s) })
		}
	}
}

func agree(t *testing.T, s *scenario.Scenario) {
	t.Helper()
	meshes := compiledSides(t, s)
	for _, m := range meshes {
		keep(m)
	}
	effects := compareMeshes(s, meshes)
	silent := map[string]bool{}
	for _, q := range questions(meshes) {
		var answers [2]*mizzen.Trace
		for i, m := range meshes {
			answers[i], _ = trace.Trace(m, q) // a name that is not known is an answer, too
		}
		if fateOf(answers[0]) == fateOf(answers[1]) || hopeless(answers) || aside(q, answers) || standsIn(meshes, answers) || slices.ContainsFunc(effects, func(e mizzen.Effect) bool { return about(e, q, answers[:]) }) {
			continue
		}
		if at := q.From + " " + hostOf(q); !silent[at] {
			silent[at] = true
			t.Errorf("no effect tells of %s %s from %s:\n%s\n%s", q.Method, q.URL, q.From, fateOf(answers[0]), fateOf(answers[1]))
		}
	}
}

// keep holds what is sent to proxies in memory: all of it is asked for again
// and again.
func keep(m *traffic.Mesh) {
	kept := map[*traffic.Part]*traffic.Part{nil: nil}
	of := func(p *traffic.Part) *traffic.Part {
		if _, there := kept[p]; !there {
			kept[p] = traffic.NewPart(sync.OnceValue(p.View))
		}
		return kept[p]
	}
	for _, p := range m.Proxies {
		p.Outbound, p.Inbound = of(p.Outbound), of(p.Inbound)
	}
}

// questions are requests that the rules of either side tell apart, and one to
// each port of each host, from one caller of each kind.
func questions(meshes [2]*traffic.Mesh) (out []trace.Question) {
	asked := map[string]bool{}
	ask := func(q trace.Question) {
		if key := fmt.Sprint(q); !asked[key] {
			asked[key] = true
			out = append(out, q)
		}
	}
	kinds := map[[2]*traffic.Part]bool{}
	for _, w := range meshes[1].Workloads {
		var kind [2]*traffic.Part
		var rcs []*routev3.RouteConfiguration
		role := traffic.Sidecar
		for i, m := range meshes {
			for _, p := range m.Proxies {
				if p.Name == w.Name {
					kind[i], role = p.Outbound, p.Role
					for _, rc := range p.Outbound.View().Routes {
						rcs = append(rcs, rc)
					}
				}
			}
		}
		if kinds[kind] || !slices.ContainsFunc(meshes[0].Workloads, func(b *traffic.Workload) bool { return b.Name == w.Name }) {
			continue
		}
		kinds[kind] = true
		from := w.Name
		if role == traffic.Gateway {
			from = trace.Outside
		}
		for _, rc := range rcs {
			for _, r := range candidates(rc) {
				ask(question(from, rc.GetName(), r))
			}
		}
		if role == traffic.Gateway {
			continue
		}
		for _, m := range meshes {
			for host, ports := range m.Hosts {
				for _, port := range ports {
					at := fmt.Sprintf("%s.:%d", strings.Replace(host, "*", "any", 1), port)
					ask(trace.Question{From: from, URL: "tcp://" + at})
					ask(trace.Question{From: from, Method: http.MethodGet, URL: "http://" + at + "/"})
				}
			}
		}
	}
	return out
}

// candidates are requests for each virtual host, without those for the many
// ways to write its name.
func candidates(rc *routev3.RouteConfiguration) (out []match.Request) {
	for _, vh := range rc.GetVirtualHosts() {
		found, _ := match.Candidates(match.CandidateOptions{Max: 40}, &routev3.RouteConfiguration{VirtualHosts: []*routev3.VirtualHost{vh}})
		for _, r := range found {
			if host, _, _ := strings.Cut(vh.GetName(), ":"); strings.HasSuffix(host, ".svc.cluster.local") {
				r.Host = host
			}
			out = append(out, r)
		}
	}
	return out
}

func question(from, routes string, r match.Request) trace.Question {
	port := "80"
	for _, part := range strings.FieldsFunc(routes, func(c rune) bool { return c == ':' || c == '.' }) {
		if part != "" && strings.Trim(part, "0123456789") == "" {
			port = part
		}
	}
	host, _, _ := strings.Cut(r.Host, ":")
	scheme := "http"
	if strings.HasPrefix(routes, "https.") {
		scheme = "https"
	}
	q := trace.Question{From: from, Method: r.Method, URL: scheme + "://" + host + ":" + port + r.Path}
	for _, h := range r.Headers {
		q.Headers = append(q.Headers, mizzen.TraceHeader{Name: h.Name, Value: h.Value})
	}
	return q
}

func hostOf(q trace.Question) string {
	_, rest, _ := strings.Cut(q.URL, "://")
	host, _, _ := strings.Cut(rest, "/")
	host, _, _ = strings.Cut(host, ":")
	return strings.TrimSuffix(strings.TrimSuffix(host, "."), ".svc.cluster.local")
}

// fateOf tells what becomes of a request, without the reasons.
func fateOf(t *mizzen.Trace) string {
	if t == nil {
		return "not known"
	}
	var out []string
	for _, o := range t.Outcomes {
		what := fmt.Sprintf("%v %% %s %d", o.Percent, o.Fate, o.Status)
		if o.Fate == mizzen.FateServed {
			what += " " + o.Message
		}
		out = append(out, what)
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}

// hopeless tells whether nobody serves a request on either side: the name is not
// known, no rule takes it, no server is there or nothing listens. Which of these
// it is, is no matter of a reviewer's.
func hopeless(answers [2]*mizzen.Trace) bool {
	for _, a := range answers {
		if a != nil && slices.ContainsFunc(a.Outcomes, func(o mizzen.TraceOutcome) bool {
			return o.Fate != mizzen.FateFails || !slices.Contains([]int{0, http.StatusNotFound, http.StatusServiceUnavailable}, o.Status)
		}) {
			return false
		}
	}
	return true
}

// aside tells whether a connection speaks what nobody expects at its port, and
// is led past the rules for requests, on both sides.
func aside(q trace.Question, answers [2]*mizzen.Trace) bool {
	return strings.HasPrefix(q.URL, "tcp:") && !slices.ContainsFunc(answers[:], func(a *mizzen.Trace) bool {
		return a == nil || len(a.Hops) == 0 || a.Hops[0].FilterChain != "PassthroughFilterChain"
	})
}

// standsIn tells whether a name is known on one side alone, as that of a gateway
// that stands in for one which no object is.
func standsIn(meshes [2]*traffic.Mesh, answers [2]*mizzen.Trace) bool {
	for i, a := range answers {
		if a == nil || answers[1-i] != nil {
			continue
		}
		return slices.ContainsFunc(a.Hops, func(h mizzen.TraceHop) bool {
			return slices.ContainsFunc(meshes[i].Workloads, func(w *traffic.Workload) bool { return w.Elsewhere && w.Name == h.Workload })
		})
	}
	return false
}

// about tells whether an effect speaks of the host that a request is for, or of
// a workload on its way.
func about(e mizzen.Effect, q trace.Question, answers []*mizzen.Trace) bool {
	text := e.Subject + " " + e.Message
	names := []string{hostOf(q), "hosts outside of the mesh"}
	for _, a := range answers {
		if a == nil {
			continue
		}
		for _, hop := range a.Hops {
			namespace, _, _ := strings.Cut(hop.Workload, "/")
			names = append(names, hop.Workload, "workloads of "+namespace, "namespace "+namespace)
		}
	}
	for _, rest, found := strings.Cut(hostOf(q), "."); found; _, rest, found = strings.Cut(rest, ".") {
		names = append(names, "*."+rest)
	}
	// More than a few are counted, and what is not understood is told of proxies.
	notUnderstood := e.Code == mizzen.EffectUnknown && slices.ContainsFunc(e.Callers, func(c string) bool { return c == "*" || slices.Contains(names, c) })
	if notUnderstood || strings.HasSuffix(e.Subject, " hosts") {
		return true
	}
	return slices.ContainsFunc(names, func(n string) bool { return n != "" && strings.Contains(text, n) })
}
