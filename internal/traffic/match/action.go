package match

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
)

// act decides what the chosen route does with a request. Envoy's filters come
// in this order: fault, CORS, router.
func (t *Router) act(out *Outcome, req *Request, matched int, o *Options) {
	p := t.plan(out.VirtualHost, out.Route)
	out.Unsure = append(out.Unsure, p.unsure...)
	out.Treatment = p.treatment
	if out.CORS != nil {
		policy := *out.CORS
		policy.OriginAllowed = p.allowsOrigin(req.first("origin"))
		out.CORS = &policy
	}
	if f := out.Fault; f != nil && f.AbortPercent >= 100 {
		out.Kind = Fault
		out.abort(f, req)
		return
	}
	switch action := out.Route.Action.(type) {
	case *routev3.Route_DirectResponse:
		out.direct(action.DirectResponse, req)
	case *routev3.Route_Redirect:
		out.Kind = Redirect
		out.Location = location(action.Redirect, req, matched, req.forwardedProto(o.Arrival))
		out.answer(redirectStatus[action.Redirect.GetResponseCode()], req)
	case *routev3.Route_Route:
		if out.CORS.answers(req) {
			// The CORS filter answers with headers alone, to gRPC as well.
			out.Kind, out.Status = Preflight, 200
			return
		}
		out.Kind = Forward
		out.Destinations = p.destinations
		out.Timeout = p.timeouts.of(req)
		out.bound(p.timeouts, req, o.MaxStreamDuration)
		out.forward(action.Route, req, matched)
	}
}

// answers reports whether the CORS filter answers a request itself.
func (c *CORS) answers(req *Request) bool {
	return c != nil && req.preflight() && (c.OriginAllowed || !c.ForwardUnmatched)
}

// direct answers as the route says.
func (out *Outcome) direct(d *routev3.DirectResponseAction, req *Request) {
	out.Kind = Direct
	out.Body = d.GetBody().GetInlineString()
	status := int(d.GetStatus())
	if status == 201 || status/100 == 3 {
		out.Location = req.scheme() + "://" + req.Host + req.Path
	}
	out.answer(status, req)
}

var redirectStatus = map[routev3.RedirectAction_RedirectResponseCode]int{
	routev3.RedirectAction_MOVED_PERMANENTLY:  301,
	routev3.RedirectAction_FOUND:              302,
	routev3.RedirectAction_SEE_OTHER:          303,
	routev3.RedirectAction_TEMPORARY_REDIRECT: 307,
	routev3.RedirectAction_PERMANENT_REDIRECT: 308,
}

// abort answers with an injected failure. One that is given as a gRPC status
// has HTTP status 200 for every client.
func (out *Outcome) abort(f *FaultPolicy, req *Request) {
	if f.AbortStatus != 0 {
		out.answer(f.AbortStatus, req)
		return
	}
	out.Status = 200
	if req.grpc() {
		out.GRPCStatus = int(f.AbortGRPC)
	}
}

// missingStatus is 500 where the Gateway API made the route.
var missingStatus = map[routev3.RouteAction_ClusterNotFoundResponseCode]int{
	routev3.RouteAction_SERVICE_UNAVAILABLE:   503,
	routev3.RouteAction_NOT_FOUND:             404,
	routev3.RouteAction_INTERNAL_SERVER_ERROR: 500,
}

// bound sets how long the whole stream may last.
func (out *Outcome) bound(t timeouts, req *Request, manager time.Duration) {
	var doubt string
	if out.MaxStreamDuration, doubt = t.ofStream(req, manager); doubt != "" {
		out.Unsure = append(out.Unsure, doubt)
	}
}

// forward sets the destination and what it sees.
func (out *Outcome) forward(a *routev3.RouteAction, req *Request, matched int) {
	out.MissingStatus = missingStatus[a.GetClusterNotFoundResponseCode()]
	i := pick(out.Destinations, pickValue(a, req))
	out.Picked = i
	if i >= 0 {
		out.Cluster = out.Destinations[i].Cluster
		if name := out.Destinations[i].ClusterHeader; name != "" {
			out.Cluster = req.first(name)
		}
		if h := out.Destinations[i].Host; h != "" {
			out.Host = h
		}
	}
	out.Path = rewritePath(a, req.Path, matched)
	out.AutoHost = a.GetAutoHostRewrite().GetValue()
	p, _ := cutQuery(req.Path)
	host := ""
	switch s := a.HostRewriteSpecifier.(type) {
	case *routev3.RouteAction_HostRewriteLiteral:
		host = s.HostRewriteLiteral
	case *routev3.RouteAction_HostRewriteHeader:
		host = req.first(s.HostRewriteHeader)
	case *routev3.RouteAction_HostRewritePathRegex:
		host = compiled(s.HostRewritePathRegex.GetPattern().GetRegex()).replace(p, s.HostRewritePathRegex.GetSubstitution())
	}
	if host != "" {
		out.Host = host
	}
}

// pickValue returns the random value that picks a destination: the bucket, or
// a header of the request if the route names one and it is a number.
func pickValue(a *routev3.RouteAction, req *Request) uint64 {
	name := a.GetWeightedClusters().GetHeaderName()
	if name == "" {
		return req.Bucket
	}
	values := req.header(name)
	if len(values) != 1 {
		return req.Bucket
	}
	n, err := strconv.ParseUint(strings.TrimSpace(values[0]), 10, 64)
	if err != nil {
		return req.Bucket
	}
	return n
}

// pick returns the index of the destination that a random value falls on, or
// -1 if there is none.
func pick(destinations []Destination, value uint64) int {
	var sum, upto uint64
	for i := range destinations {
		sum += uint64(destinations[i].Weight)
	}
	if sum == 0 {
		return len(destinations) - 1
	}
	for i := range destinations {
		upto += uint64(destinations[i].Weight)
		if value%sum < upto {
			return i
		}
	}
	return -1
}

// rewritePath returns the path as the destination sees it. A rewrite of the
// prefix replaces what matched; the query stays.
func rewritePath(a *routev3.RouteAction, path string, matched int) string {
	if prefix := a.GetPrefixRewrite(); prefix != "" {
		return prefix + path[min(matched, len(path)):]
	}
	if r := a.GetRegexRewrite(); r != nil {
		p, query := cutQuery(path)
		return compiled(r.GetPattern().GetRegex()).replace(p, r.GetSubstitution()) + query
	}
	return path
}

// location returns where a redirect leads (Http::Utility::newUri); proto is the
// scheme that the client used.
func location(r *routev3.RedirectAction, req *Request, matched int, proto string) string {
	scheme := req.scheme()
	switch {
	case r.GetSchemeRedirect() != "":
		scheme = r.GetSchemeRedirect()
	case r.GetHttpsRedirect():
		scheme = "https"
	}
	port := ""
	if r.PortRedirect != 0 {
		port = fmt.Sprintf(":%d", r.PortRedirect)
	}
	host := r.HostRedirect
	if host == "" {
		host = redirectHost(req.Host, proto, scheme, port)
	}
	return scheme + "://" + host + port + redirectPath(r, req, matched)
}

// redirectHost keeps the host of the request without its port if there is a
// new one, or if it is the default of a scheme that is left.
func redirectHost(host, proto, scheme, port string) string {
	i := portStart(host)
	if i < 0 {
		return host
	}
	isDefault := proto == "http" && host[i:] == ":80" || proto == "https" && host[i:] == ":443"
	if port != "" || scheme != proto && isDefault {
		return host[:i]
	}
	return host
}

// redirectPath returns path and query of a redirect. A path that replaces the
// whole keeps the request's query unless it has its own.
func redirectPath(r *routev3.RedirectAction, req *Request, matched int) string {
	p, query := cutQuery(req.Path)
	path, ownQuery := req.Path, false
	switch s := r.PathRewriteSpecifier.(type) {
	case *routev3.RedirectAction_PathRedirect:
		if s.PathRedirect == "" {
			break
		}
		ownQuery = strings.Contains(s.PathRedirect, "?")
		path = s.PathRedirect
		if !ownQuery {
			path += query
		}
	case *routev3.RedirectAction_PrefixRewrite:
		if s.PrefixRewrite != "" {
			path = s.PrefixRewrite + req.Path[min(matched, len(req.Path)):]
		}
	case *routev3.RedirectAction_RegexRewrite:
		path = compiled(s.RegexRewrite.GetPattern().GetRegex()).replace(p, s.RegexRewrite.GetSubstitution()) + query
	}
	if r.StripQuery && !ownQuery {
		path, _ = cutQuery(path)
	}
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	return path
}
