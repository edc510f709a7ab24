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
	if status, why := req.refusal(o.Limits); status != 0 {
		return Outcome{Kind: BadRequest, Status: status, Why: why, Path: req.Path, Host: req.Host}
	}
	from := req.anonymous()
	req, end := req.prepared(&o)
	if end.status != 0 {
		return end.outcome(&req, &o)
	}
	if t.looksAtArrival || len(req.header("connection")) > 0 {
		req.arrive(&o, from, t.rc.GetInternalOnlyHeaders())
	}
	out := Outcome{Path: req.Path, Host: req.Host, Unsure: o.doubts(&req)}
	if t.rc.GetVhostHeader() != "" {
		out.Unsure = append(out.Unsure, "the host is taken from another header")
	}
	matched := t.find(&out, &req, from, &o)
	switch {
	case out.Kind == NoHost || out.Kind == NoRoute:
		out.answer(404, &req)
	case !o.mayUpgrade(&req, out.Route):
		out.refuseUpgrade(&req)
	case out.Kind == Redirect:
		out.Location = "https://" + req.Host + req.Path // the port stays
		out.answer(301, &req)
	default:
		t.act(&out, &req, matched, &o)
	}
	return out
}

// find sets what answers a request that has arrived: a route, of which it
// returns how much of the path it matched, or the Kind of what takes its place.
// A host that wants TLS redirects plain requests, whatever their route would be.
func (t *Router) find(out *Outcome, req *Request, from client, o *Options) (matched int) {
	proto := req.forwardedProto(o.Arrival)
	out.VirtualHost = t.Host(req.Host)
	switch {
	case out.VirtualHost == nil:
		out.Kind = NoHost
		return 0
	case proto == "":
		// Envoy chooses no route for a request without a scheme, which an empty
		// X-Forwarded-Proto is to it.
		out.Kind = NoRoute
		return 0
	case out.VirtualHost.RequireTls != routev3.VirtualHost_NONE && proto != "https":
		out.Kind = Redirect
		return 0
	}
	matched, ok := t.choose(out, req, from, o)
	if !ok {
		out.Kind = NoRoute
	}
	return matched
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
func (t *Router) choose(out *Outcome, req *Request, from client, o *Options) (matched int, ok bool) {
	if out.VirtualHost.Matcher != nil {
		out.Unsure = append(out.Unsure, "the virtual host chooses its routes by a matcher")
	}
	for _, route := range out.VirtualHost.Routes {
		n, holds := matchRoute(route.Match, req, from)
		if holds == yes {
			out.Route = route
			return n, true
		}
		if holds == unsure {
			out.Unsure = append(out.Unsure, fmt.Sprintf("route %s depends on %s", route.Name, unknown(route.Match, req, from)))
		}
		if !o.WithoutTried {
			out.Tried = append(out.Tried, Tried{Route: route, Why: explain(route.Match, req, from)})
		}
	}
	return 0, false
}

// matchRoute reports whether a request satisfies all conditions of a route. It
// is unsure only if all others hold.
func matchRoute(m *routev3.RouteMatch, req *Request, from client) (matched int, holds truth) {
	matched, holds = matchPath(m, req)
	if holds == no {
		return 0, no
	}
	for _, h := range m.Headers {
		if holds = min(holds, matchHeader(h, req)); holds == no {
			return 0, no
		}
	}
	if !matchQueries(m, req) || !matchCookies(m, req) || !matchClaims(m, req) || !matchRest(m, req) {
		return 0, no
	}
	if len(m.FilterState) > 0 {
		holds = unsure
	}
	return matched, min(holds, matchTLS(m.TlsContext, from))
}

// matchRest reports whether a request is within the share of a route, and of
// its protocol.
func matchRest(m *routev3.RouteMatch, req *Request) bool {
	if f := m.RuntimeFraction; f != nil && !withinShare(f.GetDefaultValue(), req.Bucket) {
		return false
	}
	return m.Grpc == nil || req.grpc()
}

// matchTLS reports whether the client is as a route wants it. Whether one that
// may show a certificate does is not known here.
func matchTLS(m *routev3.RouteMatch_TlsContextMatchOptions, from client) truth {
	switch {
	case m.GetPresented() == nil && m.GetValidated() == nil:
		return yes
	case from.certified != no:
		return unsure
	}
	return truthOf(!m.GetPresented().GetValue() && !m.GetValidated().GetValue())
}

func matchQueries(m *routev3.RouteMatch, req *Request) bool {
	for _, q := range m.QueryParameters {
		if !matchQuery(q, req) {
			return false
		}
	}
	return true
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

// unknown names the condition of a route that cannot be decided here.
func unknown(m *routev3.RouteMatch, req *Request, from client) string {
	for _, h := range m.Headers {
		if matchHeader(h, req) == unsure {
			return h.Name + ", which Envoy makes up"
		}
	}
	switch {
	case len(m.FilterState) > 0:
		return "filter state"
	case matchTLS(m.TlsContext, from) == unsure:
		return "the client's certificate"
	}
	return "a path policy"
}

// explain says why a request does not satisfy a route.
func explain(m *routev3.RouteMatch, req *Request, from client) string {
	if _, holds := matchRoute(m, req, from); holds == unsure {
		return "the route depends on " + unknown(m, req, from) + ", which is not known here"
	}
	if _, holds := matchPath(m, req); holds == no {
		return describePath(m, req)
	}
	for _, h := range m.Headers {
		if matchHeader(h, req) == no {
			return explainHeader(h, req)
		}
	}
	for _, q := range m.QueryParameters {
		if !matchQuery(q, req) {
			return explainQuery(q, req)
		}
	}
	return explainRest(m, req)
}

// explainRest explains for conditions on neither path, headers nor parameters.
func explainRest(m *routev3.RouteMatch, req *Request) string {
	if f := m.RuntimeFraction; f != nil && !withinShare(f.GetDefaultValue(), req.Bucket) {
		return fmt.Sprintf("only %s %% of the requests match", percentText(f.GetDefaultValue()))
	}
	if m.Grpc != nil && !req.grpc() {
		return "the request is not gRPC"
	}
	for _, d := range m.DynamicMetadata {
		if !matchMetadata(d, req.metadata()) {
			return describeMetadata(d)
		}
	}
	for _, c := range m.Cookies {
		if !matchCookie(c, req) {
			return explainCookie(c, req)
		}
	}
	return "the connection is in plaintext, and the route wants a certificate"
}

// explainHeader says what a request has where a route wants something else.
func explainHeader(h *routev3.HeaderMatcher, req *Request) string {
	return fmt.Sprintf("%s: %s, wanted %s", describeNamed(h.Name), describeValues(req.header(h.Name)), describeHeader(h))
}

// explainQuery is explainHeader for query parameters.
func explainQuery(q *routev3.QueryParameterMatcher, req *Request) string {
	var values []string
	if v, ok := queryValue(req.Path, q.Name); ok {
		values = []string{v}
	}
	return fmt.Sprintf("query parameter %s: %s, wanted %s", q.Name, describeValues(values), describeQuery(q))
}

// pseudo are what users call the headers that are none.
var pseudo = map[string]string{":method": "method", ":authority": "host", ":scheme": "scheme", ":path": "path"}
