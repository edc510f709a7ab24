package match

import (
	"slices"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
)

// upgrades reports whether a request wants to change its protocol.
func (r *Request) upgrades() bool {
	return !r.HTTP2 && r.first("upgrade") != "" && slices.ContainsFunc(r.header("connection"), func(v string) bool { return slices.Contains(tokens(lower(v)), "upgrade") })
}

// ignoreH2C takes the wish for HTTP/2 without TLS out of a request, as the
// codec of HTTP/1.1 does: Envoy goes on in HTTP/1.1.
func (r *Request) ignoreH2C() {
	if !r.upgrades() || !strings.EqualFold(r.first("upgrade"), "h2c") {
		return
	}
	gone := []string{"upgrade", "http2-settings"}
	kept := slices.DeleteFunc(tokens(strings.Join(r.header("connection"), ",")), func(t string) bool { return slices.Contains(gone, lower(t)) })
	out := make([]Header, 0, len(r.Headers))
	for _, h := range r.Headers {
		if name := lower(h.Name); name != "connection" && !slices.Contains(gone, name) {
			out = append(out, h)
		}
	}
	if len(kept) > 0 {
		out = append(out, Header{"connection", strings.Join(kept, ",")})
	}
	r.Headers = out
}

// mayUpgrade reports whether Envoy lets a request change its protocol, or
// whether it does not ask for that: the route says to which, or else the
// connection manager.
func (o *Options) mayUpgrade(req *Request, route *routev3.Route) bool {
	if !req.upgrades() {
		return true
	}
	wanted := req.first("upgrade")
	for _, u := range route.GetRoute().GetUpgradeConfigs() {
		if strings.EqualFold(u.GetUpgradeType(), wanted) {
			return u.GetEnabled() == nil || u.GetEnabled().GetValue()
		}
	}
	return slices.ContainsFunc(o.Upgrades, func(protocol string) bool { return strings.EqualFold(protocol, wanted) })
}

// refuseUpgrade answers a wish for a protocol that is not enabled.
func (out *Outcome) refuseUpgrade(req *Request) {
	out.Kind, out.Why = BadRequest, notUpgradable(req)
	out.answer(403, req)
}

func notUpgradable(req *Request) string {
	return "connections here may not change to the protocol " + req.first("upgrade")
}

// refusesUpgrade reports whether Envoy knows how to answer a request, as it has
// arrived, but does not let it change its protocol as it asks.
func (t *Router) refusesUpgrade(req *Request, from client, o *Options) bool {
	if !req.upgrades() {
		return false
	}
	quick := *o
	quick.WithoutTried = true
	var out Outcome
	t.find(&out, req, from, &quick)
	return out.Kind != NoHost && out.Kind != NoRoute && !o.mayUpgrade(req, out.Route)
}
