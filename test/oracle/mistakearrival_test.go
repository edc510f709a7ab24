package oracle

import (
	"cmp"
	"slices"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"mizzen.dev/mizzen/internal/traffic/match"
	"mizzen.dev/mizzen/test/oracle/internal/generate"
)

// unsent takes a header out of requests.
func unsent(name string) func(*generate.Request) {
	return func(r *generate.Request) {
		r.Header = slices.DeleteFunc(slices.Clone(r.Header), func(h [2]string) bool { return strings.EqualFold(h[0], name) })
	}
}

// blind makes matchers of a header look at one that nobody sends.
func blind(name string) func(*routev3.RouteConfiguration) {
	return eachHeader(func(h *routev3.HeaderMatcher) {
		if strings.EqualFold(h.Name, name) {
			h.Name = "x-blind"
		}
	})
}

// arrivalMistakes are about what a connection manager does before it routes.
var arrivalMistakes = []mistake{
	{name: "believes clients from outside", options: func(o *match.Options) { o.Arrival.Edge = false }},
	{name: "believes no client", options: func(o *match.Options) { o.Arrival.Edge = true }},
	{name: "does not know that proxies add the scheme", config: blind("x-forwarded-proto")},
	{name: "does not take the scheme from x-forwarded-proto", choice: true, request: unsent("x-forwarded-proto")},
	{name: "tells no port", options: func(o *match.Options) { o.Arrival.AppendsForwardedPort = false }},
	{name: "gives requests no ID", options: func(o *match.Options) { o.Arrival.WithoutRequestID = true }},
	{name: "keeps the headers that a connection names", choice: true, request: unsent("connection")},
	{name: "lets clients ask for retries", choice: true, config: eachHeader(func(h *routev3.HeaderMatcher) {
		if h.Name == "x-envoy-retry-on" {
			h.Name = "x-request-id"
		}
	})},
	{name: "lets escaped slashes pass", options: func(o *match.Options) { o.Normalization.RejectSlashes = false }},
	{name: "forwards escaped slashes instead of a redirect", options: func(o *match.Options) { o.Normalization.RedirectSlashes = false }},
	{name: "lets headers have underscores", options: func(o *match.Options) { o.Limits.Underscores = 0 }},
	{name: "takes any number of headers", options: func(o *match.Options) { o.Limits.Headers = 1000 }},
	{name: "does not count the host among the headers", options: func(o *match.Options) { o.Limits.Headers = cmp.Or(o.Limits.Headers, 100) + 1 }},
	{name: "takes headers of any size", options: func(o *match.Options) { o.Limits.HeaderKiB = 1000 }},
	{name: "lets connections change to any protocol", options: func(o *match.Options) { o.Upgrades = []string{"websocket", "foo"} }},
	{name: "lets connections change to no protocol", options: func(o *match.Options) { o.Upgrades = nil }},
	{name: "ignores the timeout of calls of gRPC", request: unsent("grpc-timeout")},
	{name: "ignores cookies", config: eachMatch(func(m *routev3.RouteMatch) { m.Cookies = nil })},
	{name: "minds no certificate", config: eachMatch(func(m *routev3.RouteMatch) { m.TlsContext = nil })},
	{name: "reads the last of repeated cookies", choice: true, request: func(r *generate.Request) {
		r.Header = slices.Clone(r.Header)
		for i, h := range r.Header {
			if strings.EqualFold(h[0], "cookie") {
				list := strings.Split(h[1], "; ")
				slices.Reverse(list)
				r.Header[i][1] = strings.Join(list, "; ")
			}
		}
	}},
}
