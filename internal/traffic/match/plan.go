package match

import (
	"maps"
	"slices"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	corsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	faultv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
)

// The names under which routes configure filters.
const (
	faultFilter = "envoy.filters.http.fault"
	corsFilter  = "envoy.filters.http.cors"
)

// followed are the filters of which the settings of routes are understood, or
// do not change what is decided here.
var followed = map[string]bool{faultFilter: true, corsFilter: true, "envoy.filters.http.stateful_session": true}

// filtersOf returns the filters for which a route or what it is in has settings
// of its own.
func filtersOf(rc *routev3.RouteConfiguration, vh *routev3.VirtualHost, r *routev3.Route) map[string]bool {
	levels := []map[string]*anypb.Any{rc.GetTypedPerFilterConfig(), vh.GetTypedPerFilterConfig(), r.GetTypedPerFilterConfig()}
	for _, c := range r.GetRoute().GetWeightedClusters().GetClusters() {
		levels = append(levels, c.GetTypedPerFilterConfig())
	}
	out := map[string]bool{}
	for _, level := range levels {
		for name := range level {
			out[name] = true
		}
	}
	return out
}

// overridden returns the filters for which any route has settings of its own.
func overridden(rc *routev3.RouteConfiguration) map[string]bool {
	out := map[string]bool{}
	for _, vh := range rc.GetVirtualHosts() {
		for _, r := range vh.GetRoutes() {
			maps.Copy(out, filtersOf(rc, vh, r))
		}
	}
	return out
}

// plan is what a route does with any request.
type plan struct {
	treatment    Treatment
	destinations []Destination
	origins      []*matcherv3.StringMatcher
	timeouts     timeouts
	unsure       []string
}

// plan returns what a route does. Results are shared and must not be changed.
func (t *Router) plan(vh *routev3.VirtualHost, r *routev3.Route) *plan {
	if p, ok := t.plans.Load(r); ok {
		return p.(*plan)
	}
	p := &plan{}
	a := r.GetRoute()
	p.destinations = destinations(a)
	p.treatment.RequestHeaders = t.mutations(requestMutations(r), requestMutations(vh), requestMutations(t.rc))
	p.treatment.ResponseHeaders = t.mutations(responseMutations(r), responseMutations(vh), responseMutations(t.rc))
	p.fault(r.GetTypedPerFilterConfig(), vh.GetTypedPerFilterConfig(), t.rc.GetTypedPerFilterConfig())
	if a != nil {
		policy := a.RetryPolicy
		if policy == nil {
			policy = vh.RetryPolicy
		}
		p.timeouts = timeoutsOf(a, policy)
		p.treatment.Retries = retriesOf(policy)
		p.treatment.IdleTimeout = duration(a.IdleTimeout)
		p.mirrors(a.GetRequestMirrorPolicies(), vh.GetRequestMirrorPolicies(), t.rc.GetRequestMirrorPolicies())
		p.cors(r.GetTypedPerFilterConfig(), vh.GetTypedPerFilterConfig(), t.rc.GetTypedPerFilterConfig())
		p.hash(a)
	}
	p.overrides(t.rc, vh, r)
	p.unknown(r, vh)
	t.plans.Store(r, p)
	return p
}

// overrides notes the filters for which a route has settings that are not
// followed.
func (p *plan) overrides(rc *routev3.RouteConfiguration, vh *routev3.VirtualHost, r *routev3.Route) {
	for _, name := range slices.Sorted(maps.Keys(filtersOf(rc, vh, r))) {
		if !followed[name] {
			p.unsure = append(p.unsure, "the route has settings of its own for filter "+name)
		}
	}
}

func (p *plan) unknown(r *routev3.Route, vh *routev3.VirtualHost) {
	a := r.GetRoute()
	switch {
	case a == nil && r.GetRedirect() == nil && r.GetDirectResponse() == nil:
		p.unsure = append(p.unsure, "the route's action is not understood")
	case a.GetPathRewritePolicy() != nil || a.GetPathRewrite() != "":
		p.unsure = append(p.unsure, "the route rewrites paths by a policy")
	case a.GetClusterSpecifierPlugin() != "" || a.GetInlineClusterSpecifierPlugin() != nil:
		p.unsure = append(p.unsure, "the route chooses its cluster by a plugin")
	case a != nil && (a.HedgePolicy != nil || vh.HedgePolicy != nil):
		p.unsure = append(p.unsure, "the route sends requests several times at once")
	}
}

// destinations returns where a route forwards to.
func destinations(a *routev3.RouteAction) []Destination {
	switch s := a.GetClusterSpecifier().(type) {
	case *routev3.RouteAction_Cluster:
		return []Destination{{Cluster: s.Cluster, Weight: 1, Percent: 100}}
	case *routev3.RouteAction_ClusterHeader:
		return []Destination{{ClusterHeader: s.ClusterHeader, Weight: 1, Percent: 100}}
	case *routev3.RouteAction_WeightedClusters:
		return weighted(s.WeightedClusters)
	}
	return nil
}

func weighted(w *routev3.WeightedCluster) []Destination {
	var sum uint64
	for _, c := range w.Clusters {
		sum += uint64(c.GetWeight().GetValue())
	}
	out := make([]Destination, 0, len(w.Clusters))
	for _, c := range w.Clusters {
		d := Destination{
			Cluster:         c.Name,
			ClusterHeader:   c.ClusterHeader,
			Weight:          c.GetWeight().GetValue(),
			Host:            c.GetHostRewriteLiteral(),
			RequestHeaders:  requestMutations(c),
			ResponseHeaders: responseMutations(c),
		}
		if sum > 0 {
			d.Percent = 100 * float64(d.Weight) / float64(sum)
		}
		out = append(out, d)
	}
	return out
}

func duration(d *durationpb.Duration) time.Duration {
	if d == nil {
		return 0
	}
	return d.AsDuration()
}

// retriesOf returns how a policy tries again; nil if it does not.
func retriesOf(r *routev3.RetryPolicy) *Retries {
	if r.GetRetryOn() == "" {
		return nil
	}
	out := &Retries{
		On:          r.RetryOn,
		Attempts:    1,
		PerTry:      duration(r.PerTryTimeout),
		StatusCodes: r.RetriableStatusCodes,
		Headers:     len(r.RetriableHeaders)+len(r.RetriableRequestHeaders) > 0,
	}
	if r.NumRetries != nil {
		out.Attempts = r.NumRetries.Value
	}
	if out.Attempts == 0 {
		return nil
	}
	return out
}

// mirrors takes the most specific level that has any.
func (p *plan) mirrors(levels ...[]*routev3.RouteAction_RequestMirrorPolicy) {
	for _, level := range levels {
		for _, m := range level {
			mirror := Mirror{Cluster: m.Cluster, Percent: runtimePercent(m.RuntimeFraction)}
			if m.ClusterHeader != "" {
				mirror.Cluster = "header " + m.ClusterHeader
			}
			if mirror.Percent > 0 {
				p.treatment.Mirrors = append(p.treatment.Mirrors, mirror)
			}
		}
		if len(level) > 0 {
			return
		}
	}
}

// filterConfig decodes what a level says to a filter, if it says anything that
// can be read.
func filterConfig[T proto.Message](level map[string]*anypb.Any, name string, into T) bool {
	a := level[name]
	if a == nil {
		return false
	}
	wrapper := &routev3.FilterConfig{}
	if a.MessageIs(wrapper) {
		if a.UnmarshalTo(wrapper) != nil || wrapper.Disabled || wrapper.Config == nil {
			return false
		}
		a = wrapper.Config
	}
	return a.UnmarshalTo(into) == nil
}

// fault takes the most specific level.
func (p *plan) fault(levels ...map[string]*anypb.Any) {
	f := &faultv3.HTTPFault{}
	if !slices.ContainsFunc(levels, func(l map[string]*anypb.Any) bool { return filterConfig(l, faultFilter, f) }) {
		return
	}
	byHeader := f.GetAbort().GetHeaderAbort() != nil || f.GetDelay().GetHeaderDelay() != nil
	if byHeader || len(f.Headers) > 0 || len(f.DownstreamNodes) > 0 || f.UpstreamCluster != "" {
		p.unsure = append(p.unsure, "the fault is injected under a condition")
		return
	}
	out := FaultPolicy{
		AbortPercent: percent(f.GetAbort().GetPercentage()),
		AbortStatus:  int(f.GetAbort().GetHttpStatus()),
		AbortGRPC:    f.GetAbort().GetGrpcStatus(),
		DelayPercent: percent(f.GetDelay().GetPercentage()),
		Delay:        duration(f.GetDelay().GetFixedDelay()),
	}
	if out.Delay == 0 {
		out.DelayPercent = 0
	}
	if out.AbortPercent > 0 || out.DelayPercent > 0 {
		p.treatment.Fault = &out
	}
}

// cors joins the levels field by field, the most specific first, as Envoy's
// filter does; only the first decides whether the filter works at all.
func (p *plan) cors(levels ...map[string]*anypb.Any) {
	var found []*corsv3.CorsPolicy
	for _, level := range levels {
		if c := (&corsv3.CorsPolicy{}); filterConfig(level, corsFilter, c) {
			found = append(found, c)
		}
	}
	if len(found) == 0 || runtimePercent(found[0].FilterEnabled) == 0 {
		return
	}
	all := &corsv3.CorsPolicy{}
	for _, c := range slices.Backward(found) {
		if len(c.AllowOriginStringMatch) > 0 {
			all.AllowOriginStringMatch = nil
		}
		proto.Merge(all, c)
	}
	out := &CORS{
		AllowMethods:     all.AllowMethods,
		AllowHeaders:     all.AllowHeaders,
		ExposeHeaders:    all.ExposeHeaders,
		MaxAge:           all.MaxAge,
		AllowCredentials: all.GetAllowCredentials().GetValue(),
		ForwardUnmatched: all.ForwardNotMatchingPreflights == nil || all.ForwardNotMatchingPreflights.Value,
	}
	for _, m := range all.AllowOriginStringMatch {
		out.Origins = append(out.Origins, describeString(m))
	}
	p.origins = all.AllowOriginStringMatch
	p.treatment.CORS = out
}

// allowsOrigin reports whether a CORS policy allows an origin; a matcher that
// takes "*" allows all.
func (p *plan) allowsOrigin(origin string) bool {
	return origin != "" && slices.ContainsFunc(p.origins, func(m *matcherv3.StringMatcher) bool {
		return matchString(m, "*") || matchString(m, origin)
	})
}

// hash says in words what keeps a client at one endpoint.
func (p *plan) hash(a *routev3.RouteAction) {
	for _, h := range a.HashPolicy {
		var s string
		switch v := h.PolicySpecifier.(type) {
		case *routev3.RouteAction_HashPolicy_Header_:
			s = "header " + v.Header.GetHeaderName()
		case *routev3.RouteAction_HashPolicy_Cookie_:
			s = "cookie " + v.Cookie.GetName()
			if v.Cookie.GetTtl() != nil {
				s += " for " + v.Cookie.GetTtl().AsDuration().String()
			}
		case *routev3.RouteAction_HashPolicy_ConnectionProperties_:
			s = "source IP"
		case *routev3.RouteAction_HashPolicy_QueryParameter_:
			s = "query parameter " + v.QueryParameter.GetName()
		default:
			s = "filter state"
		}
		if h.Terminal {
			s += ", and nothing after it"
		}
		p.treatment.Hash = append(p.treatment.Hash, s)
	}
}
