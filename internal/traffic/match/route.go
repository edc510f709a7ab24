package match

import (
	"fmt"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
)

// Route decides about one request. Whoever asks often of one configuration
// keeps a Router.
func Route(rc *routev3.RouteConfiguration, req Request, o Options) Outcome {
	return NewRouter(rc).Route(req, o)
}

// Route decides about one request: what Envoy's connection manager, its fault
// and CORS filters and its router do with it, in this order.
func (t *Router) Route(req Request, o Options) Outcome {
	if status, why := req.refusal(); status != 0 {
		return Outcome{Kind: BadRequest, Status: status, Why: why, Path: req.Path, Host: req.Host}
	}
	req, why := req.prepared(o)
	if why != "" {
		return Outcome{Kind: BadRequest, Status: 400, Why: why, Path: req.Path, Host: req.Host}
	}
	out := Outcome{Path: req.Path, Host: req.Host}
	out.VirtualHost = t.Host(req.Host)
	if out.VirtualHost == nil {
		out.Kind = NoHost
		out.answer(404, &req)
		return out
	}
	if t.requiresTLS(&out, &req) {
		return out
	}
	matched, ok := t.choose(&out, &req, o)
	if !ok {
		out.Kind = NoRoute
		out.answer(404, &req)
		return out
	}
	t.act(&out, &req, matched)
	return out
}

// requiresTLS redirects plain requests to a host that wants TLS, before any
// route is looked at. The port stays.
func (t *Router) requiresTLS(out *Outcome, req *Request) bool {
	if out.VirtualHost.RequireTls == routev3.VirtualHost_NONE || req.scheme() == "https" {
		return false
	}
	out.Kind = Redirect
	out.Location = "https://" + req.Host + req.Path
	out.answer(301, req)
	return true
}

// answer sets the status of a local answer.
func (out *Outcome) answer(status int, req *Request) {
	out.Status = status
	if req.grpc() {
		out.GRPCStatus = grpcStatus(status)
	}
}

// grpcStatus is Envoy's table (Grpc::Utility::httpToGrpcStatus).
func grpcStatus(status int) int {
	switch status {
	case 400:
		return 13
	case 401:
		return 16
	case 403:
		return 7
	case 404:
		return 12
	case 429, 502, 503, 504:
		return 14
	}
	return 2
}

// choose sets the first route that matches, and how much of the path it
// matched.
func (t *Router) choose(out *Outcome, req *Request, o Options) (matched int, ok bool) {
	if out.VirtualHost.Matcher != nil {
		out.Unsure = append(out.Unsure, "the virtual host chooses its routes by a matcher")
	}
	for _, route := range out.VirtualHost.Routes {
		if n, ok := matchRoute(route.Match, req); ok {
			out.Route = route
			return n, true
		}
		if u := unsupported(route.Match); u != "" {
			out.Unsure = append(out.Unsure, fmt.Sprintf("route %s %s", route.Name, u))
		}
		if !o.WithoutTried {
			out.Tried = append(out.Tried, Tried{Route: route, Why: explain(route.Match, req)})
		}
	}
	return 0, false
}

// matchRoute reports whether a request satisfies all conditions of a route.
func matchRoute(m *routev3.RouteMatch, req *Request) (matched int, ok bool) {
	matched, ok = matchPath(m, req)
	if !ok {
		return 0, false
	}
	for _, h := range m.Headers {
		if !matchHeader(h, req) {
			return 0, false
		}
	}
	for _, q := range m.QueryParameters {
		if !matchQuery(q, req) {
			return 0, false
		}
	}
	if m.RuntimeFraction != nil && !withinShare(m.RuntimeFraction.GetDefaultValue(), req.Bucket) {
		return 0, false
	}
	if m.Grpc != nil && !req.grpc() {
		return 0, false
	}
	return matched, matchClaims(m, req) && unsupported(m) == ""
}

func matchClaims(m *routev3.RouteMatch, req *Request) bool {
	if len(m.DynamicMetadata) == 0 {
		return true
	}
	metadata := req.metadata()
	for _, d := range m.DynamicMetadata {
		if !matchMetadata(d, metadata) {
			return false
		}
	}
	return true
}

// unsupported names a condition that the model does not know; such a route
// counts as not matching.
func unsupported(m *routev3.RouteMatch) string {
	switch {
	case m == nil:
		return "has no match"
	case m.TlsContext != nil:
		return "depends on the client's certificate"
	case len(m.FilterState) > 0:
		return "depends on filter state"
	case len(m.Cookies) > 0:
		return "depends on cookies"
	}
	if _, ok := m.PathSpecifier.(*routev3.RouteMatch_PathMatchPolicy); ok {
		return "has a path match policy"
	}
	return ""
}

// explain says why a request does not satisfy a route.
func explain(m *routev3.RouteMatch, req *Request) string {
	if u := unsupported(m); u != "" {
		return "the route " + u + ", which is not understood"
	}
	if _, ok := matchPath(m, req); !ok {
		return describePath(m, req)
	}
	for _, h := range m.Headers {
		if !matchHeader(h, req) {
			return explainHeader(h, req)
		}
	}
	for _, q := range m.QueryParameters {
		if matchQuery(q, req) {
			continue
		}
		var values []string
		if v, ok := queryValue(req.Path, q.Name); ok {
			values = []string{v}
		}
		return fmt.Sprintf("query parameter %s: %s, wanted %s", q.Name, describeValues(values), describeQuery(q))
	}
	if m.Grpc != nil && !req.grpc() {
		return "the request is not gRPC"
	}
	for _, d := range m.DynamicMetadata {
		if !matchMetadata(d, req.metadata()) {
			return describeMetadata(d)
		}
	}
	return fmt.Sprintf("only %s %% of the requests match", percentText(m.RuntimeFraction.GetDefaultValue()))
}

// explainHeader says what a request has where a route wants something else.
func explainHeader(h *routev3.HeaderMatcher, req *Request) string {
	return fmt.Sprintf("%s: %s, wanted %s", describeNamed(h.Name), describeValues(req.header(h.Name)), describeHeader(h))
}

// pseudo are what users call the headers that are none.
var pseudo = map[string]string{":method": "method", ":authority": "host", ":scheme": "scheme", ":path": "path"}
