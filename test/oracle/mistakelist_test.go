package oracle

import (
	"slices"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"mizzen.dev/mizzen/internal/traffic/match"
	"mizzen.dev/mizzen/test/oracle/internal/generate"
)

// mistakes are what matchers get wrong, by what they look at.
var mistakes = slices.Concat(hostMistakes, arrivalMistakes, pathMistakes, conditionMistakes, choiceMistakes, answerMistakes, wayMistakes)

var hostMistakes = []mistake{
	{name: "minds the case of hosts", choice: true, request: func(r *generate.Request) {
		if strings.ToLower(r.Host) != r.Host {
			r.Host = "case.invalid"
		}
	}},
	{name: "takes the port for a part of the host", config: func(rc *routev3.RouteConfiguration) {
		rc.IgnorePortInHostMatching = !rc.IgnorePortInHostMatching
	}},
	{name: "takes *.example.com to mean example.com as well", choice: true, config: func(rc *routev3.RouteConfiguration) {
		for _, host := range rc.VirtualHosts {
			for _, d := range host.Domains {
				if bare, ok := strings.CutPrefix(d, "*."); ok {
					host.Domains = append(host.Domains, bare)
				}
			}
		}
	}},
	{name: "lets * stand for one label only", choice: true, request: func(r *generate.Request) {
		if strings.HasPrefix(strings.ToLower(r.Host), "a.b.") {
			r.Host = "label.invalid"
		}
	}},
	{name: "takes the first wildcard rather than the longest", choice: true, config: func(rc *routev3.RouteConfiguration) {
		for i, host := range rc.VirtualHosts {
			for _, later := range rc.VirtualHosts[i+1:] {
				later.Domains = slices.DeleteFunc(later.Domains, func(d string) bool { return covered(host.Domains, d) })
			}
		}
	}},
	{name: "ignores a host that is sent twice", request: func(r *generate.Request) {
		r.Header = slices.DeleteFunc(slices.Clone(r.Header), func(h [2]string) bool { return strings.EqualFold(h[0], "host") })
	}},
	{name: "ignores a trailing dot of the host", choice: true, request: func(r *generate.Request) { r.Host = strings.TrimSuffix(r.Host, ".") }},
}

// covered tells whether a wildcard of domains takes all that d takes.
func covered(domains []string, d string) bool {
	return slices.ContainsFunc(domains, func(wide string) bool {
		suffix, ok := strings.CutPrefix(wide, "*")
		return ok && suffix != "" && strings.HasPrefix(d, "*") && strings.HasSuffix(d, suffix)
	})
}

var pathMistakes = []mistake{
	{name: "takes the query for a part of the path", choice: true, request: func(r *generate.Request) {
		r.Path = strings.Replace(r.Path, "?", "%3F", 1)
	}},
	{name: "answers 400 to a fragment", request: func(r *generate.Request) {
		if strings.Contains(r.Path, "#") {
			r.Path = "\x00"
		}
	}},
	{name: "takes a fragment for a part of the path", choice: true, request: func(r *generate.Request) { r.Path = strings.Replace(r.Path, "#", "%23", 1) }},
	{name: "does not normalize paths", options: func(o *match.Options) { o.Normalization = match.Normalization{} }},
	{name: "always merges slashes", options: func(o *match.Options) { o.Normalization.MergeSlashes = true }},
	{name: "never merges slashes", options: func(o *match.Options) { o.Normalization.MergeSlashes = false }},
	{name: "decodes escaped slashes", options: func(o *match.Options) { o.Normalization.UnescapeSlashes = true }},
	{name: "decodes all of the path", request: mapPath(func(p string) string { return decode([]string{p})[0] })},
	{name: "takes a prefix for whole segments", config: eachMatch(func(m *routev3.RouteMatch) {
		if p := m.GetPrefix(); strings.TrimSuffix(p, "/") != "" {
			m.PathSpecifier = &routev3.RouteMatch_PathSeparatedPrefix{PathSeparatedPrefix: strings.TrimSuffix(p, "/")}
		}
	})},
	{name: "takes whole segments for a prefix", config: eachMatch(func(m *routev3.RouteMatch) {
		if p := m.GetPathSeparatedPrefix(); p != "" {
			m.PathSpecifier = &routev3.RouteMatch_Prefix{Prefix: p}
		}
	})},
	{name: "takes an exact path for a prefix", config: eachMatch(func(m *routev3.RouteMatch) {
		if p := m.GetPath(); p != "" {
			m.PathSpecifier = &routev3.RouteMatch_Prefix{Prefix: p}
		}
	})},
	{name: "is content with a part for a regex", config: eachMatch(func(m *routev3.RouteMatch) {
		if x := m.GetSafeRegex(); x != nil {
			x.Regex = "(?s:.*)(?:" + x.Regex + ")(?s:.*)"
		}
	})},
	{name: "minds the case of all paths", config: eachMatch(func(m *routev3.RouteMatch) { m.CaseSensitive = nil })},
	{name: "never minds the case of paths", config: eachMatch(func(m *routev3.RouteMatch) { m.CaseSensitive = wrapperspb.Bool(false) })},
	{name: "applies ignoreUriCase to a regex", config: eachMatch(func(m *routev3.RouteMatch) {
		if x := m.GetSafeRegex(); x != nil && m.CaseSensitive != nil && !m.CaseSensitive.Value {
			x.Regex = "(?i)" + x.Regex
		}
	})},
	{name: "ignores a slash at the end", choice: true, request: mapPath(func(p string) string {
		if len(p) > 1 {
			return strings.TrimSuffix(p, "/")
		}
		return p
	})},
}

// eachText changes the matchers of texts in headers and parameters.
func eachText(change func(*matcherv3.StringMatcher)) func(*routev3.RouteConfiguration) {
	return eachMatch(func(m *routev3.RouteMatch) {
		for _, h := range m.Headers {
			if s := h.GetStringMatch(); s != nil {
				change(s)
			}
		}
		for _, q := range m.QueryParameters {
			if s := q.GetStringMatch(); s != nil {
				change(s)
			}
		}
	})
}

func eachHeader(change func(*routev3.HeaderMatcher)) func(*routev3.RouteConfiguration) {
	return eachMatch(func(m *routev3.RouteMatch) {
		for _, h := range m.Headers {
			change(h)
		}
	})
}

var conditionMistakes = []mistake{
	{name: "reads the first of repeated headers", choice: true, request: firstOnly},
	{name: "joins repeated headers", choice: true, request: join},
	{name: "lets an absent header satisfy an inverted match", config: eachHeader(func(h *routev3.HeaderMatcher) {
		if h.InvertMatch {
			h.TreatMissingHeaderAsEmpty = !h.TreatMissingHeaderAsEmpty
		}
	})},
	{name: "ignores inversion", config: eachHeader(func(h *routev3.HeaderMatcher) { h.InvertMatch = false })},
	{name: "ignores the method", config: eachMatch(func(m *routev3.RouteMatch) {
		m.Headers = slices.DeleteFunc(m.Headers, func(h *routev3.HeaderMatcher) bool { return h.Name == ":method" })
	})},
	{name: "ignores the authority", config: eachMatch(func(m *routev3.RouteMatch) {
		m.Headers = slices.DeleteFunc(m.Headers, func(h *routev3.HeaderMatcher) bool { return h.Name == ":authority" })
	})},
	{name: "takes presence for any header", config: eachMatch(func(m *routev3.RouteMatch) {
		m.Headers = slices.DeleteFunc(m.Headers, func(h *routev3.HeaderMatcher) bool { return h.GetPresentMatch() })
	})},
	{name: "takes exact texts for prefixes", config: eachText(func(s *matcherv3.StringMatcher) {
		if x, ok := s.MatchPattern.(*matcherv3.StringMatcher_Exact); ok && x.Exact != "" {
			s.MatchPattern = &matcherv3.StringMatcher_Prefix{Prefix: x.Exact}
		}
	})},
	{name: "takes prefixes for exact texts", config: eachText(func(s *matcherv3.StringMatcher) {
		if x, ok := s.MatchPattern.(*matcherv3.StringMatcher_Prefix); ok {
			s.MatchPattern = &matcherv3.StringMatcher_Exact{Exact: x.Prefix}
		}
	})},
	{name: "never minds the case of texts", config: eachText(func(s *matcherv3.StringMatcher) { s.IgnoreCase = s.GetSafeRegex() == nil })},
	{name: "searches for regexes in texts", config: eachText(func(s *matcherv3.StringMatcher) {
		if x := s.GetSafeRegex(); x != nil {
			x.Regex = "(?s:.*)(?:" + x.Regex + ")(?s:.*)"
		}
	})},
	{name: "reads the last of repeated parameters", choice: true, request: mapQuery(lastOfName)},
	{name: "decodes parameters", choice: true, request: mapQuery(decode)},
	{name: "ignores parameters without a value", choice: true, request: mapQuery(func(list []string) []string {
		return slices.DeleteFunc(list, func(p string) bool { return !strings.Contains(p, "=") })
	})},
	{name: "ignores parameters", config: eachMatch(func(m *routev3.RouteMatch) { m.QueryParameters = nil })},
	{name: "ands conditions as if one were enough", config: eachMatch(func(m *routev3.RouteMatch) {
		if len(m.Headers) > 1 {
			m.Headers = m.Headers[:1]
		}
	})},
}

var choiceMistakes = []mistake{
	{name: "takes the last route that matches", config: func(rc *routev3.RouteConfiguration) {
		for _, host := range rc.VirtualHosts {
			slices.Reverse(host.Routes)
		}
	}},
	{name: "prefers exact paths to the order of routes", config: func(rc *routev3.RouteConfiguration) {
		for _, host := range rc.VirtualHosts {
			slices.SortStableFunc(host.Routes, func(a, b *routev3.Route) int {
				rank := func(r *routev3.Route) int {
					if r.Match.GetPath() != "" {
						return 0
					}
					return 1
				}
				return rank(a) - rank(b)
			})
		}
	}},
	{name: "sends all to the first of weighted clusters", config: eachAction(func(a *routev3.RouteAction) {
		for i, c := range a.GetWeightedClusters().GetClusters() {
			if i > 0 {
				c.Weight = wrapperspb.UInt32(0)
			}
		}
	})},
	{name: "is off by one in weights", request: func(r *generate.Request) { r.Bucket++ }},
	{name: "makes all weights equal", config: eachAction(func(a *routev3.RouteAction) {
		for _, c := range a.GetWeightedClusters().GetClusters() {
			c.Weight = wrapperspb.UInt32(1)
		}
	})},
}
