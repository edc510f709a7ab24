package effect

import (
	"fmt"
	"slices"
	"strings"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic/match"
)

// aspect is one way in which a request is treated on its way.
type aspect struct {
	code   mizzen.EffectCode
	impact mizzen.Impact
	// message has a %s for the requests.
	message string
	hints   hints
	words   func(x *index, f *fate, host string) string
}

var aspects = []aspect{
	{mizzen.EffectTimeout, mizzen.ImpactNotice, "the time that %s may take changes", hints{"timeout"}, timeout},
	{mizzen.EffectRetries, mizzen.ImpactNotice, "the retries of %s change", hints{"retries"}, retries},
	{mizzen.EffectFault, mizzen.ImpactWarning, "the failures injected into %s change", hints{"fault"}, injected},
	{mizzen.EffectMirror, mizzen.ImpactNotice, "the copies of %s change", hints{"mirror"}, mirrors},
	{mizzen.EffectRewrite, mizzen.ImpactWarning, "what the server sees of %s changes", hints{"rewrite"}, rewritten},
	{mizzen.EffectHeaders, mizzen.ImpactNotice, "the header changes of %s change", hints{"headers", "appendHeaders"}, headers},
	{mizzen.EffectCORS, mizzen.ImpactNotice, "what browsers may do with %s changes", hints{"corsPolicy"}, cors},
	{mizzen.EffectLoadBalancing, mizzen.ImpactNotice, "what keeps %s at one endpoint changes", hints{"loadBalancer"}, affinity},
}

// treatment tells how the treatment of a request that is served on both sides
// differs.
func (m *meeting) treatment(b, a fate) {
	if b.answered() || a.answered() || b.unknown || a.unknown {
		return
	}
	for _, x := range aspects {
		before, after := x.words(m.before, &b, m.host), x.words(m.after, &a, m.host)
		if before == after || x.code == mizzen.EffectLoadBalancing && m.c.out.tells(x.code, shortHost(m.host)) {
			continue
		}
		if m.mannersOnly && x.code == mizzen.EffectRewrite {
			m.tellReading(before, after)
			continue
		}
		m.tell(found{code: x.code, impact: x.weight(b, a), message: x.message, before: before, after: after}, x.hints)
	}
	m.remainder(b, a)
	m.policies(b, a)
}

// policies tells of another treatment at the same workloads, when a rule leads
// to them by another name, such as that of a subset.
func (m *meeting) policies(b, a fate) {
	if len(b.shares) != 1 || len(a.shares) != 1 || b.shares[0].cluster == a.shares[0].cluster || !sameDestinations(b, a) {
		return
	}
	x, y := m.before.Clusters[b.shares[0].cluster], m.after.Clusters[a.shares[0].cluster]
	if x == nil || y == nil {
		return
	}
	for _, aspect := range clusterAspects {
		if before, after := changed(aspect.words(x), aspect.words(y)); before != after {
			m.tell(found{code: aspect.code, impact: mizzen.ImpactNotice, message: aspect.message + " for %s", before: before, after: after}, aspect.hints)
		}
	}
}

// weight is the impact of a difference: worse if requests fail, or if every
// origin is let in.
func (x *aspect) weight(b, a fate) mizzen.Impact {
	switch {
	case x.code == mizzen.EffectFault && fails(a.Fault) > fails(b.Fault):
		return mizzen.ImpactDanger
	case x.code == mizzen.EffectCORS && wide(a.CORS) && !wide(b.CORS):
		return mizzen.ImpactWarning
	}
	return x.impact
}

// fails returns the part of requests that an injected fault lets fail, 0..100.
func fails(f *match.FaultPolicy) float64 {
	if f == nil {
		return 0
	}
	return f.AbortPercent
}

// wide tells whether a CORS policy lets every origin in.
func wide(c *match.CORS) bool {
	if c == nil {
		return false
	}
	for _, o := range c.Origins {
		if strings.Contains(o, `"*"`) || strings.Contains(o, `".*"`) {
			return true
		}
	}
	return false
}

const none = "none"

func timeout(_ *index, f *fate, _ string) string {
	var out []string
	for _, t := range []struct {
		name string
		span time.Duration
	}{{"", f.Timeout}, {"idle ", f.IdleTimeout}, {"stream ", f.MaxStreamDuration}} {
		if t.span > 0 {
			out = append(out, t.name+span(t.span))
		}
	}
	if len(out) == 0 {
		return "no limit"
	}
	return strings.Join(out, ", ")
}

func retries(_ *index, f *fate, _ string) string {
	r := f.Retries
	if r == nil {
		return none
	}
	s := fmt.Sprintf("up to %d on %s", r.Attempts, strings.ReplaceAll(r.On, ",", ", "))
	for i, code := range r.StatusCodes {
		if i == 0 {
			s += ", status"
		}
		s += fmt.Sprintf(" %d", code)
	}
	if r.PerTry > 0 {
		s += ", " + span(r.PerTry) + " each"
	}
	if r.Headers {
		s += ", for some headers"
	}
	return s
}

func injected(_ *index, f *fate, _ string) string {
	p := f.Fault
	if p == nil {
		return none
	}
	var out []string
	if p.AbortPercent > 0 {
		status := fmt.Sprintf("%d", p.AbortStatus)
		if p.AbortStatus == 0 {
			status = fmt.Sprintf("gRPC status %d", p.AbortGRPC)
		}
		out = append(out, number(p.AbortPercent)+" % answered with "+status)
	}
	if p.DelayPercent > 0 {
		out = append(out, number(p.DelayPercent)+" % delayed by "+span(p.Delay))
	}
	return strings.Join(out, ", ")
}

func mirrors(x *index, f *fate, host string) string {
	var out []string
	for _, m := range f.Mirrors {
		d := x.destination(m.Cluster)
		to := d.words(host)
		if d.problem != "" {
			to = "nowhere (" + d.failing() + ")"
		}
		out = append(out, number(m.Percent)+" % to "+to)
	}
	if len(out) == 0 {
		return none
	}
	return strings.Join(out, ", ")
}

func rewritten(_ *index, f *fate, _ string) string {
	host := withoutPort(f.Host)
	if f.AutoHost {
		host = "that of the endpoint"
	}
	s := "path " + f.Path + ", host " + host
	for _, d := range f.Destinations {
		if d.Host != "" {
			s += ", at " + d.Cluster + " host " + d.Host
		}
	}
	return s
}

func headers(_ *index, f *fate, host string) string {
	var out []string
	add := func(to, of string, mutations []match.Mutation) {
		for _, m := range mutations {
			out = append(out, to+": "+m.String()+of)
		}
	}
	add("request", "", f.RequestHeaders)
	add("response", "", f.ResponseHeaders)
	for i, d := range f.Destinations {
		if len(f.Destinations) > 1 && i < len(f.shares) {
			of := " (" + f.shares[i].words(host) + ")"
			add("request", of, d.RequestHeaders)
			add("response", of, d.ResponseHeaders)
			continue
		}
		add("request", "", d.RequestHeaders)
		add("response", "", d.ResponseHeaders)
	}
	if len(out) == 0 {
		return none
	}
	return list(out, 8)
}

func cors(_ *index, f *fate, _ string) string {
	c := f.CORS
	if c == nil {
		return "no policy"
	}
	var w fields
	w.set("origins", list(c.Origins, 5))
	w.set("methods", c.AllowMethods)
	w.set("headers", c.AllowHeaders)
	w.set("exposed", c.ExposeHeaders)
	w.set("max age", c.MaxAge)
	if c.AllowCredentials {
		w.set("credentials", "allowed")
	}
	if !c.ForwardUnmatched {
		w.set("preflights of other origins", "answered")
	}
	return w.without(nil)
}

// allowance is what an answer tells the browser that sent a request.
func allowance(r match.Request, f fate) string {
	c := f.CORS
	if c == nil || !slices.ContainsFunc(r.Headers, func(h match.Header) bool { return h.Name == "origin" }) {
		return ""
	}
	var w fields
	if c.OriginAllowed {
		w.set("origin", "allowed")
		w.set("exposed", c.ExposeHeaders)
	}
	preflight := f.Kind == match.Preflight
	if c.AllowCredentials && (preflight || c.OriginAllowed) {
		w.set("credentials", "allowed")
	}
	if preflight {
		w.set("methods", c.AllowMethods)
		w.set("headers", c.AllowHeaders)
		w.set("max age", c.MaxAge)
	}
	return w.without(nil)
}

func affinity(_ *index, f *fate, _ string) string {
	if len(f.Hash) == 0 {
		return none
	}
	return strings.Join(f.Hash, ", ")
}

// remainder tells what a rule says beyond all that has words of its own.
func (m *meeting) remainder(b, a fate) {
	if b.Route == nil || a.Route == nil {
		return
	}
	x, y := rest(b.Route), rest(a.Route)
	if proto.Equal(x, y) {
		return
	}
	f := found{code: mizzen.EffectRoutePolicy, impact: mizzen.ImpactNotice, message: "%s are treated otherwise"}
	f.before, f.after = difference(x, y)
	m.tell(f, hints{"route"})
}

// rest returns a route without what the other aspects and the fate tell.
func rest(r *routev3.Route) *routev3.Route {
	r = proto.Clone(r).(*routev3.Route)
	r.Name, r.Match, r.Metadata, r.Decorator, r.StatPrefix = "", nil, nil, nil, ""
	r.RequestHeadersToAdd, r.RequestHeadersToRemove, r.ResponseHeadersToAdd, r.ResponseHeadersToRemove = nil, nil, nil, nil
	for name := range r.TypedPerFilterConfig {
		if leftToRoutes[name] {
			delete(r.TypedPerFilterConfig, name)
		}
	}
	if len(r.TypedPerFilterConfig) == 0 {
		r.TypedPerFilterConfig = nil
	}
	a := r.GetRoute()
	if a == nil {
		return r
	}
	action := &routev3.RouteAction{
		MetadataMatch: a.MetadataMatch, Priority: a.Priority,
		RateLimits: a.RateLimits, UpgradeConfigs: a.UpgradeConfigs, InternalRedirectPolicy: a.InternalRedirectPolicy,
		EarlyDataPolicy: a.EarlyDataPolicy, HedgePolicy: a.HedgePolicy, AppendXForwardedHost: a.AppendXForwardedHost,
	}
	r.Action = &routev3.Route_Route{Route: action}
	return r
}
