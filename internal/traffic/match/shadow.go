package match

import (
	"slices"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
)

// ShadowedRoute is a route that can never match, and the one before it that
// takes everything it could.
type ShadowedRoute struct {
	VirtualHost *routev3.VirtualHost
	Route       *routev3.Route
	By          *routev3.Route
}

// Shadowed returns the routes of a configuration that can never match, in
// its order. It reports only what is certain: a route that several others
// cover together, or whose conditions are not understood, is not reported.
func Shadowed(rc *routev3.RouteConfiguration) []ShadowedRoute {
	var out []ShadowedRoute
	for _, vh := range rc.GetVirtualHosts() {
		// Only routes that are reached can cover others, which keeps the work
		// small where the first one takes everything.
		var reached []*routev3.Route
		for _, r := range vh.Routes {
			if by := coveredBy(reached, r); by != nil {
				out = append(out, ShadowedRoute{VirtualHost: vh, Route: r, By: by})
			} else {
				reached = append(reached, r)
			}
		}
	}
	return out
}

func coveredBy(earlier []*routev3.Route, r *routev3.Route) *routev3.Route {
	for _, e := range earlier {
		if covers(e.Match, r.Match) {
			return e
		}
	}
	return nil
}

// covers reports whether everything that b takes is taken by a: each condition
// of a follows from one of b.
func covers(a, b *routev3.RouteMatch) bool {
	if b == nil || !comparable(a) || !pathCovers(a, b) || a.Grpc != nil && b.Grpc == nil {
		return false
	}
	if f := a.RuntimeFraction; f != nil && percent(f.GetDefaultValue()) < 100 {
		return false
	}
	return implied(b.Headers, a.Headers, headerCovers) &&
		implied(b.QueryParameters, a.QueryParameters, queryCovers) &&
		implied(b.Cookies, a.Cookies, func(x, y *routev3.CookieMatcher) bool { return proto.Equal(x, y) }) &&
		implied(b.DynamicMetadata, a.DynamicMetadata, func(x, y *matcherv3.MetadataMatcher) bool { return proto.Equal(x, y) })
}

// comparable tells whether covers understands all conditions of a route.
func comparable(m *routev3.RouteMatch) bool {
	return m != nil && m.GetPathMatchPolicy() == nil && m.TlsContext == nil && len(m.FilterState) == 0
}

// implied reports whether every wanted condition follows from a given one.
func implied[T any](given, wanted []T, covers func(wanted, given T) bool) bool {
	for _, w := range wanted {
		if !slices.ContainsFunc(given, func(g T) bool { return covers(w, g) }) {
			return false
		}
	}
	return true
}

// pathCovers reports whether every path that b takes is taken by a.
func pathCovers(a, b *routev3.RouteMatch) bool {
	if _, isConnect := b.PathSpecifier.(*routev3.RouteMatch_ConnectMatcher_); isConnect {
		return false // such requests need no path
	}
	if takesEveryPath(a) {
		return true
	}
	if isRegexPath(b) {
		return proto.Equal(pathOnly(a), pathOnly(b))
	}
	if ignoresCase(b) && (!ignoresCase(a) || isRegexPath(a)) {
		return false
	}
	takes := func(path string) bool {
		_, holds := matchPath(a, &Request{Path: path})
		return holds == yes
	}
	switch s := b.PathSpecifier.(type) {
	case *routev3.RouteMatch_Path:
		return takes(s.Path)
	case *routev3.RouteMatch_Prefix:
		return prefixCovers(a, s.Prefix, takes)
	case *routev3.RouteMatch_PathSeparatedPrefix:
		return takes(s.PathSeparatedPrefix) && prefixCovers(a, s.PathSeparatedPrefix+"/", takes)
	}
	return false
}

// prefixCovers reports whether a takes every path with a prefix.
func prefixCovers(a *routev3.RouteMatch, prefix string, takes func(string) bool) bool {
	switch s := a.PathSpecifier.(type) {
	case *routev3.RouteMatch_Prefix:
		return takes(prefix)
	case *routev3.RouteMatch_PathSeparatedPrefix:
		// The slash has to be in the prefix, or what follows may go on the name.
		return len(prefix) > len(s.PathSeparatedPrefix) && takes(prefix)
	}
	return false
}

// takesEveryPath reports whether a path condition is none. Every path begins
// with a slash.
func takesEveryPath(m *routev3.RouteMatch) bool {
	switch s := m.PathSpecifier.(type) {
	case *routev3.RouteMatch_Prefix:
		return s.Prefix == "/" || s.Prefix == ""
	case *routev3.RouteMatch_PathSeparatedPrefix:
		return s.PathSeparatedPrefix == ""
	case *routev3.RouteMatch_SafeRegex:
		return s.SafeRegex.GetRegex() == ".*" || s.SafeRegex.GetRegex() == "/.*" || s.SafeRegex.GetRegex() == ".+"
	}
	return false
}

func isRegexPath(m *routev3.RouteMatch) bool {
	_, ok := m.PathSpecifier.(*routev3.RouteMatch_SafeRegex)
	return ok
}

func pathOnly(m *routev3.RouteMatch) *routev3.RouteMatch {
	return &routev3.RouteMatch{PathSpecifier: m.PathSpecifier}
}

// headerCovers reports whether a request that satisfies one header condition
// always satisfies another.
func headerCovers(wanted, given *routev3.HeaderMatcher) bool {
	if !strings.EqualFold(wanted.Name, given.Name) {
		return false
	}
	if proto.Equal(wanted, given) {
		return true
	}
	if given.InvertMatch || wanted.InvertMatch || given.TreatMissingHeaderAsEmpty {
		return false
	}
	switch w := wanted.HeaderMatchSpecifier.(type) {
	case *routev3.HeaderMatcher_PresentMatch:
		return w.PresentMatch && wantsPresence(given)
	case nil:
		return wantsPresence(given)
	}
	value, ok := exactValue(valueMatcher(given))
	return ok && matchValue(wanted, value)
}

// wantsPresence reports whether a condition that is not inverted wants the
// header to be there.
func wantsPresence(h *routev3.HeaderMatcher) bool {
	p, ok := h.HeaderMatchSpecifier.(*routev3.HeaderMatcher_PresentMatch)
	return !ok || p.PresentMatch
}

// queryCovers is headerCovers for query parameters.
func queryCovers(wanted, given *routev3.QueryParameterMatcher) bool {
	if wanted.Name != given.Name {
		return false
	}
	if proto.Equal(wanted, given) {
		return true
	}
	if given.GetStringMatch() == nil {
		return false
	}
	if wanted.GetStringMatch() == nil {
		return wanted.GetPresentMatch()
	}
	value, ok := exactValue(given.GetStringMatch())
	return ok && matchString(wanted.GetStringMatch(), value)
}

// exactValue returns the only value that a string matcher takes.
func exactValue(m *matcherv3.StringMatcher) (string, bool) {
	e, ok := m.GetMatchPattern().(*matcherv3.StringMatcher_Exact)
	if !ok || m.IgnoreCase || e.Exact == "" {
		return "", false
	}
	return e.Exact, true
}
