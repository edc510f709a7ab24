package trace

import (
	"fmt"
	"slices"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
	"mizzen.dev/mizzen/internal/traffic/match"
)

// httpRequest is the request as a proxy gets it.
func (t *tracer) httpRequest(s seen) match.Request {
	r := match.Request{Method: t.request.Method, Path: s.path, Host: s.authority, Scheme: "http", HTTP2: t.request.h2, Headers: s.headers}
	if t.request.encrypted {
		r.Scheme = "https"
	}
	if t.request.Claims != nil {
		r.Token = tokenOf(t.request.Claims)
	}
	return r
}

// tokenOf is a valid token with claims; those that have a place of their own
// go there.
func tokenOf(claims map[string]any) *match.Token {
	token := &match.Token{Valid: true, Claims: map[string]any{}}
	for name, value := range claims {
		switch text, isText := value.(string); {
		case name == "iss" && isText:
			token.Issuer = text
		case name == "sub" && isText:
			token.Subject = text
		case name == "aud" && isText:
			token.Audiences = []string{text}
		case name == "aud":
			token.Audiences = texts(value)
		default:
			token.Claims[name] = value
		}
	}
	return token
}

func texts(value any) (list []string) {
	items, _ := value.([]any)
	for _, item := range items {
		if text, ok := item.(string); ok {
			list = append(list, text)
		}
	}
	return list
}

// decision is what a connection manager does with the request.
type decision struct {
	match.Outcome
	rule mizzen.TraceRule
	// headers are those of the request before its route changes any.
	headers []match.Header
}

// decide asks the routes of a filter chain, and writes into the hop what they
// say.
func (t *tracer) decide(l *leg, s *match.Stack) decision {
	routes := s.Routes(l.view)
	if routes == nil {
		return decision{Outcome: match.Outcome{
			Kind: match.NoHost, Status: 404, Why: fmt.Sprintf("the proxy has no routes of the name %s", s.HTTP.GetRds().GetRouteConfigName()),
		}}
	}
	request := t.httpRequest(l.seen)
	d := decision{Outcome: match.Route(routes, request, s.Options), headers: match.Arrived(routes, request, s.Options)}
	if len(d.Unsure) > 0 {
		l.doubt = strings.Join(d.Unsure, ", ")
	}
	l.hop.VirtualHost, l.hop.Route = d.VirtualHost.GetName(), d.Route.GetName()
	d.rule = t.routeRule(d.Route)
	t.noteContested(d.rule.Ref, l.hop.VirtualHost)
	l.hop.Rule = d.rule
	for _, tried := range d.Tried {
		l.hop.Tried = append(l.hop.Tried, mizzen.TraceTried{Route: tried.Route.GetName(), Rule: t.routeRule(tried.Route), Reason: tried.Why})
	}
	l.hop.Treatment = t.treatment(l, &d.Outcome)
	return d
}

// noteContested says that the rule of another object decides in a cluster where
// that is older.
func (t *tracer) noteContested(rule mizzen.Ref, virtualHost string) {
	host, _, _ := cutPort(virtualHost)
	claimants := t.mesh.Contested[host]
	if !slices.Contains(claimants, rule) {
		return
	}
	var names []string
	for _, ref := range claimants {
		names = append(names, ref.Namespace+"/"+ref.Name)
	}
	t.note("the VirtualServices %s speak for %s, of which istiod takes the oldest alone; Git has no ages, and the answer takes %s/%s, by its name",
		strings.Join(names, " and "), host, rule.Namespace, rule.Name)
}

// lines are where a rule names the destinations of a route; none if
// that is not known, as when one has the weight 0 and istiod leaves it out.
func (t *tracer) lines(r *routev3.Route, n int) []mizzen.Origin {
	rule, ok := traffic.RuleOfRoute(r)
	if !ok || rule.Path == "" {
		return nil
	}
	fields := t.mesh.Origins[rule.Ref].Fields
	list := rule.Route().Key("route")
	if rule.Ref.Kind != "VirtualService" {
		list = rule.Route().Key("backendRefs") // of the Gateway API
	}
	if _, more := fields[list.Index(n)]; more {
		return nil
	}
	var lines []mizzen.Origin
	for i := range n {
		lines = append(lines, fields[list.Index(i)])
	}
	return lines
}

func (t *tracer) routeRule(r *routev3.Route) mizzen.TraceRule {
	if r == nil {
		return mizzen.TraceRule{}
	}
	rule, ok := traffic.RuleOfRoute(r)
	if !ok {
		return mizzen.TraceRule{}
	}
	return t.rule(rule)
}

// routeHTTP routes a request at the proxy that sends it on.
func (t *tracer) routeHTTP(l *leg, s *match.Stack) {
	d := t.decide(l, s)
	if d.Kind != match.Forward {
		t.settle(l, d)
		return
	}
	if f := d.Fault; f != nil && f.AbortPercent > 0 {
		aborted := *l
		aborted.percent = l.percent * f.AbortPercent / 100
		l.percent -= aborted.percent
		t.end(&aborted, mizzen.TraceOutcome{
			Fate: mizzen.FateFails, Status: abortStatus(f), By: l.hop.Workload,
			Message: "a failure is injected on purpose", Rule: d.rule,
		})
	}
	l.seen.path, l.seen.authority = d.Path, d.Host
	l.seen.headers = match.Mutate(d.headers, d.RequestHeaders)
	l.missing = d.MissingStatus
	t.send(l, d.Route, d.Destinations)
}

// abortStatus is the HTTP status of an injected failure; one that is a status
// of gRPC comes with 200.
func abortStatus(f *match.FaultPolicy) int {
	if f.AbortStatus == 0 {
		return 200
	}
	return f.AbortStatus
}

// settle ends a request that the proxy answers itself.
func (t *tracer) settle(l *leg, d decision) {
	o := mizzen.TraceOutcome{Fate: mizzen.FateFails, Status: d.Status, By: l.hop.Workload, Rule: d.rule}
	switch d.Kind {
	case match.Redirect:
		o.Fate, o.Message = mizzen.FateServed, "a redirect to "+d.Location
	case match.Direct:
		l.answered(d, &o)
	case match.Preflight:
		o.Fate, o.Message = mizzen.FateServed, "a CORS preflight is answered by the rule"
	case match.Fault:
		o.Message = "a failure is injected on purpose"
	case match.NoHost:
		o.Message = nonempty(d.Why, fmt.Sprintf("no rule is for the host %s", l.seen.authority))
	case match.NoRoute:
		o.Message = "no rule of " + d.VirtualHost.GetName() + " matches"
	default:
		o.Message = nonempty(d.Why, string(d.Kind))
	}
	l.hop.Answer = fmt.Sprintf("%d: %s", d.Status, o.Message)
	t.end(l, o)
}

// blockAll is istiod's route for hosts that a proxy does not know, where
// nothing else may leave the mesh.
const blockAll = "block_all"

// answered is the outcome of a route that answers by itself.
func (l *leg) answered(d decision, o *mizzen.TraceOutcome) {
	o.Message = "the rule answers by itself"
	switch {
	case d.Route.GetName() == blockAll && l.to.known:
		o.Message = fmt.Sprintf("the proxy does not know %s, since a Sidecar or exportTo hides it, and lets nothing else out (REGISTRY_ONLY)", l.to.host)
	case d.Route.GetName() == blockAll:
		o.Message = "no Service or ServiceEntry has the host, and the mesh lets nothing else out (REGISTRY_ONLY)"
	case d.Status < 400:
		o.Fate = mizzen.FateServed
	}
}

func nonempty(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// treatment is what a rule does beside sending on.
func (t *tracer) treatment(l *leg, d *match.Outcome) mizzen.TraceTreatment {
	out := mizzen.TraceTreatment{TimeoutMilliseconds: d.Timeout.Milliseconds()}
	if r := d.Retries; r != nil {
		out.Retries = &mizzen.TraceRetries{Attempts: r.Attempts, On: strings.Split(r.On, ","), PerTryMilliseconds: r.PerTry.Milliseconds()}
	}
	if d.Kind == match.Forward {
		if d.Path != l.seen.path {
			out.Path = d.Path
		}
		if d.Host != l.seen.authority {
			out.Host = d.Host
		}
	}
	for _, m := range d.Mirrors {
		to, ok := targetOf(m.Cluster)
		if !ok {
			to.host = m.Cluster
		}
		out.Mirrors = append(out.Mirrors, mizzen.TraceMirror{Host: to.host, Port: to.port, Subset: to.subset, Percent: m.Percent})
	}
	if f := d.Fault; f != nil {
		if f.DelayPercent > 0 {
			out.Delay = &mizzen.TraceFault{Percent: f.DelayPercent, Milliseconds: f.Delay.Milliseconds()}
		}
		if f.AbortPercent > 0 {
			out.Abort = &mizzen.TraceFault{Percent: f.AbortPercent, Status: abortStatus(f)}
		}
	}
	out.Headers = append(mutations("request", d.RequestHeaders), mutations("response", d.ResponseHeaders)...)
	return out
}

func mutations(on string, list []match.Mutation) (headers []mizzen.TraceHeader) {
	for _, m := range list {
		action := "set"
		switch m.Action {
		case match.Remove:
			action = "remove"
		case match.Append:
			action = "append"
		}
		headers = append(headers, mizzen.TraceHeader{Name: m.Name, Value: m.Value, Action: action, On: on})
	}
	return headers
}

// overridesALPN tells whether a connection manager announces to servers which
// version of HTTP is inside of mTLS, as Istio's own filter does.
func overridesALPN(m *hcmv3.HttpConnectionManager) bool {
	return slices.ContainsFunc(m.GetHttpFilters(), func(f *hcmv3.HttpFilter) bool { return f.GetName() == "istio.alpn" })
}
