package oracle

import (
	"regexp"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"mizzen.dev/mizzen/internal/traffic/match"
	"mizzen.dev/mizzen/test/oracle/internal/generate"
)

func eachRedirect(change func(*routev3.RedirectAction)) func(*routev3.RouteConfiguration) {
	return eachRoute(func(r *routev3.Route) {
		if x := r.GetRedirect(); x != nil {
			change(x)
		}
	})
}

// locationPort finds the port of a location.
var locationPort = regexp.MustCompile(`^([a-z]+://[^/]*):[0-9]+/`)

// answerMistakes are about what Envoy answers itself.
var answerMistakes = []mistake{
	{name: "always redirects by 301", config: eachRedirect(func(x *routev3.RedirectAction) { x.ResponseCode = routev3.RedirectAction_MOVED_PERMANENTLY })},
	{name: "drops the request's port in redirects", outcome: func(o *match.Outcome) {
		o.Location = locationPort.ReplaceAllString(o.Location, "$1/")
	}},
	{name: "ignores the port of redirects", config: eachRedirect(func(x *routev3.RedirectAction) { x.PortRedirect = 0 })},
	{name: "ignores the scheme of redirects", config: eachRedirect(func(x *routev3.RedirectAction) { x.SchemeRewriteSpecifier = nil })},
	{name: "drops the query in redirects", outcome: func(o *match.Outcome) { o.Location, _, _ = strings.Cut(o.Location, "?") }},
	{name: "ignores the path of redirects", config: eachRedirect(func(x *routev3.RedirectAction) { x.PathRewriteSpecifier = nil })},
	{name: "answers 404 for what is answered directly", outcome: func(o *match.Outcome) {
		if o.Kind == match.Direct {
			o.Status = 404
		}
	}},
	{name: "answers gRPC as it answers others", request: func(r *generate.Request) {
		r.Header = append([][2]string{{"content-type", "text/plain"}}, r.Header...)
	}},
	{name: "injects faults into all requests", outcome: func(o *match.Outcome) {
		if o.Fault != nil && o.Fault.AbortPercent > 0 && o.Kind == match.Forward {
			fault := *o.Fault
			fault.AbortPercent = 99.9999
			o.Fault = &fault
		}
	}},
	{name: "injects no faults", outcome: func(o *match.Outcome) { o.Fault = nil }},
	{name: "forwards preflights", outcome: func(o *match.Outcome) {
		if o.Kind == match.Preflight {
			o.Kind, o.Status = match.Forward, 0
		}
	}},
	{name: "allows any origin", outcome: func(o *match.Outcome) {
		if o.CORS != nil {
			allowed := *o.CORS
			allowed.OriginAllowed = true
			o.CORS = &allowed
		}
	}},
}

// wayMistakes are about what happens to a request on its way.
var wayMistakes = []mistake{
	{name: "drops the query when it rewrites", outcome: func(o *match.Outcome) {
		if o.Route.GetRoute().GetPrefixRewrite() != "" {
			o.Path, _, _ = strings.Cut(o.Path, "?")
		}
	}},
	{name: "rewrites the whole path instead of the prefix", outcome: func(o *match.Outcome) {
		if prefix := o.Route.GetRoute().GetPrefixRewrite(); prefix != "" {
			_, query, asked := strings.Cut(o.Path, "?")
			o.Path = prefix
			if asked {
				o.Path += "?" + query
			}
		}
	}},
	{name: "merges the slashes of a rewrite", outcome: func(o *match.Outcome) {
		if o.Route.GetRoute().GetPrefixRewrite() != "" {
			o.Path = strings.ReplaceAll(o.Path, "//", "/")
		}
	}},
	{name: "ignores rewrites by regex", config: eachAction(func(a *routev3.RouteAction) { a.RegexRewrite = nil })},
	{name: "ignores rewrites of the host", config: eachAction(func(a *routev3.RouteAction) { a.HostRewriteSpecifier = nil })},
	{name: "ignores timeouts", config: eachAction(func(a *routev3.RouteAction) { a.Timeout = nil })},
	{name: "ignores the timeout of a try", outcome: func(o *match.Outcome) {
		if o.Retries != nil {
			retries := *o.Retries
			retries.PerTry = 0
			o.Retries = &retries
		}
	}},
	{name: "counts the first try as a retry", outcome: func(o *match.Outcome) {
		if o.Retries != nil && o.Retries.Attempts > 0 {
			retries := *o.Retries
			retries.Attempts--
			o.Retries = &retries
		}
	}},
	{name: "retries on any failure", outcome: func(o *match.Outcome) {
		if o.Retries != nil {
			retries := *o.Retries
			retries.On = "5xx"
			o.Retries = &retries
		}
	}},
	{name: "ignores mirrors", config: eachAction(func(a *routev3.RouteAction) { a.RequestMirrorPolicies = nil })},
	{name: "appends where headers are set", outcome: func(o *match.Outcome) { o.RequestHeaders = appended(o.RequestHeaders) }},
	{name: "ignores that headers are removed", config: eachRoute(func(r *routev3.Route) { r.RequestHeadersToRemove = nil })},
	{name: "ignores headers of a weighted cluster", config: eachAction(func(a *routev3.RouteAction) {
		for _, c := range a.GetWeightedClusters().GetClusters() {
			c.RequestHeadersToAdd, c.RequestHeadersToRemove, c.ResponseHeadersToAdd, c.ResponseHeadersToRemove = nil, nil, nil, nil
		}
	})},
	{name: "ignores headers of answers", config: eachRoute(func(r *routev3.Route) { r.ResponseHeadersToAdd, r.ResponseHeadersToRemove = nil, nil })},
}

func appended(list []match.Mutation) []match.Mutation {
	var out []match.Mutation
	for _, m := range list {
		if m.Action == match.Overwrite {
			m.Action = match.Append
		}
		out = append(out, m)
	}
	return out
}
