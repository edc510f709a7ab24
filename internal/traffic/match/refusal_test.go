package match

import (
	"fmt"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
)

func headers(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("x-%d: 1", i)
	}
	return out
}

func http2(r Request) Request {
	r.HTTP2 = true
	return r
}

// TestEndings says how a connection manager itself answers; each case was asked
// of Envoy.
func TestEndings(t *testing.T) {
	redirect := Options{Normalization: Normalization{DotSegments: true, MergeSlashes: true, UnescapeSlashes: true, RedirectSlashes: true}}
	few := Options{Limits: Limits{Headers: 20, HeaderKiB: 2}}
	reject := Options{Limits: Limits{Underscores: corev3.HttpProtocolOptions_REJECT_REQUEST}}
	drop := Options{Limits: Limits{Underscores: corev3.HttpProtocolOptions_DROP_HEADER, Headers: 20}}
	websocket := Options{Upgrades: []string{"websocket"}}
	upgrade := func(path, protocol string, others ...string) Request {
		return get(path, append([]string{"Connection: keep-alive, Upgrade", "Upgrade: " + protocol}, others...)...)
	}
	const grpc = "content-type: application/grpc"
	cases := []struct {
		name string
		r    Request
		o    Options
		want string
	}{
		{"a path without escapes is routed", get("/a/b"), redirect, "forward 0"},
		{"an escaped slash redirects to the normalized path", get("/a%2f..//b%5Cc?d=%2f"), redirect, "redirect 307 /b/c?d=%2f"},
		{"one in the query does not", get("/a?d=%2f"), redirect, "forward 0"},
		{"calls of gRPC cannot be redirected", get("/a%2fb", grpc), redirect, "bad-request 400 13"},
		{"what cannot be normalized is refused first", get("/a%2fb%00"), redirect, "bad-request 400"},

		{"99 headers and the host", get("/", headers(99)...), Options{}, "forward 0"},
		{"what is joined counts once", get("/", append(headers(98), "accept: a", "Accept: b", "host: c")...), Options{}, "forward 0"},
		{"one more", get("/", headers(100)...), Options{}, "bad-request 431"},
		{"HTTP/2 counts method, scheme and path", http2(get("/", headers(96)...)), Options{}, "forward 0"},
		{"one more in HTTP/2", http2(get("/", headers(97)...)), Options{}, "bad-request 431"},
		{"a limit of its own", get("/", headers(20)...), few, "bad-request 431"},
		{"as many as the limit", get("/", headers(19)...), few, "forward 0"},
		{"the first line comes before", get("/\u00e9", headers(100)...), Options{}, "bad-request 400"},
		{"a limit of size", get("/", "x: "+strings.Repeat("x", 2<<10)), few, "bad-request 431"},

		{"underscores are allowed", get("/", "x_a: 1"), Options{}, "forward 0"},
		{"or refused", get("/", "x_a: 1"), reject, "bad-request 400"},
		{"or dropped", get("/u", "x_a: 1"), drop, "forward 0"},
		{"and do not count then", get("/", append(headers(19), "x_a: 1")...), drop, "forward 0"},

		{"a protocol that is enabled", upgrade("/", "WebSocket"), websocket, "forward 0"},
		{"a protocol that is not", upgrade("/", "foo"), websocket, "bad-request 403"},
		{"none is by itself", upgrade("/", "websocket"), Options{}, "bad-request 403"},
		{"two are none", upgrade("/", "websocket", "upgrade: foo"), websocket, "bad-request 403"},
		{"a call of gRPC", upgrade("/", "foo", grpc), websocket, "bad-request 403 7"},
		{"HTTP/2 in plaintext is not taken up", upgrade("/u", "h2c", "http2-settings: x"), websocket, "forward 0"},
		{"a route that answers itself", upgrade("/direct", "foo"), websocket, "bad-request 403"},
		{"a route with a protocol of its own", upgrade("/own", "foo"), websocket, "forward 0"},
		{"a route without one", upgrade("/own", "websocket"), websocket, "bad-request 403"},
		{"what has no route has no protocol", upgrade("/", "foo", "host: empty"), websocket, "no-route 404"},
	}
	rc := hosts(t, `
virtualHosts:
- name: v
  domains: ["*"]
  routes:
  - {name: direct, match: {prefix: /direct}, directResponse: {status: 200}}
  - {name: own, match: {prefix: /own}, route: {cluster: c, upgradeConfigs: [{upgradeType: Foo}, {upgradeType: websocket, enabled: false}]}}
  - {name: hidden, match: {prefix: /u, headers: [{name: x_a, presentMatch: true}]}, directResponse: {status: 200}}
  - {name: hop, match: {prefix: /u, headers: [{name: upgrade, presentMatch: true}]}, directResponse: {status: 200}}
  - {name: all, match: {prefix: /}, route: {cluster: c}}
- {name: empty, domains: [empty]}
`)
	for _, c := range cases {
		out := Route(rc, c.r, c.o)
		got := fmt.Sprintf("%s %d %s", out.Kind, out.Status, out.Location)
		if out.GRPCStatus != 0 {
			got += fmt.Sprint(out.GRPCStatus)
		}
		if got = strings.TrimSpace(got); got != c.want {
			t.Errorf("%s: %s, want %s (%s)", c.name, got, c.want, out.Why)
		}
	}
}

// TestUpgradeOfTLSHost: a host that wants TLS redirects only what it could
// serve.
func TestUpgradeOfTLSHost(t *testing.T) {
	rc := hosts(t, `virtualHosts: [{name: v, domains: ["*"], requireTls: ALL, routes: [{match: {prefix: /}, route: {cluster: c}}]}]`)
	r := get("/", "connection: upgrade", "upgrade: foo")
	if out := Route(rc, r, Options{}); out.Status != 403 {
		t.Errorf("%d, want 403", out.Status)
	}
	if out := Route(rc, r, Options{Upgrades: []string{"foo"}}); out.Status != 301 {
		t.Errorf("%d, want 301", out.Status)
	}
}

// TestRefusedByEnvoy: policies are not asked about what no filter sees.
func TestRefusedByEnvoy(t *testing.T) {
	s := httpStack(t, `upgradeConfigs: [{upgradeType: websocket}], routeConfig: {virtualHosts: [{name: v, domains: ["*"], routes: [{match: {prefix: /a}, route: {cluster: c}}]}]},`,
		httpRBAC("DENY", "d: "+policy("{any: true}", "{any: true}")))
	cases := []struct {
		r       Request
		refused bool
		status  int
	}{
		{get("/a", "connection: upgrade", "upgrade: foo"), true, 403},
		{get("/a", "connection: upgrade", "upgrade: websocket"), false, 403},
		{get("/b", "connection: upgrade", "upgrade: foo"), false, 403},
		{get("/a", headers(100)...), true, 431},
		{get("/a%"), false, 403},
	}
	for _, c := range cases {
		if v := Authorize(s, c.r, Peer{}); v.Decision != Denied || v.Refused != c.refused || v.Status != c.status {
			t.Errorf("%s %v: %s %t %d, want %t %d", c.r.Path, c.r.Headers[:min(2, len(c.r.Headers))], v.Decision, v.Refused, v.Status, c.refused, c.status)
		}
	}
}

// TestDoubts: what only EnvoyFilters write, and what is not followed, is said.
func TestDoubts(t *testing.T) {
	rc := hosts(t, `virtualHosts: [{name: v, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: c}}]}]`)
	strip := OptionsOf(&hcmv3.HttpConnectionManager{StripMatchingHostPort: true})
	at := func(host string) Request { return Request{Method: "GET", Path: "/", Host: host} }
	if out := Route(rc, at("a"), strip); len(out.Unsure) != 0 {
		t.Errorf("unsure of a host without a port: %v", out.Unsure)
	}
	if out := Route(rc, at("a:80"), strip); len(out.Unsure) != 1 {
		t.Errorf("unsure of %v, want of the port", out.Unsure)
	}
	early := OptionsOf(&hcmv3.HttpConnectionManager{EarlyHeaderMutationExtensions: []*corev3.TypedExtensionConfig{{}}})
	if out := Route(rc, at("a"), early); len(out.Unsure) != 1 {
		t.Errorf("unsure of %v, want of the headers", out.Unsure)
	}
	for _, rc := range []*routev3.RouteConfiguration{
		hosts(t, `virtualHosts: [{name: v, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: c}, typedPerFilterConfig: {envoy.filters.http.rbac: {"@type": type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBACPerRoute}}}]}]`),
		hosts(t, `virtualHosts: [{name: v, domains: ["*"], typedPerFilterConfig: {envoy.filters.http.lua: {"@type": type.googleapis.com/envoy.config.route.v3.FilterConfig, disabled: true}}, routes: [{match: {prefix: /}, route: {cluster: c}}]}]`),
	} {
		if out := Route(rc, at("a"), Options{}); len(out.Unsure) != 1 {
			t.Errorf("unsure of %v, want of the filter", out.Unsure)
		}
	}
}

// TestOverriddenPolicy: a route that sets a policy's filter otherwise leaves it
// open what that decides.
func TestOverriddenPolicy(t *testing.T) {
	per := `typedPerFilterConfig: {envoy.filters.http.rbac: {"@type": type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBACPerRoute}}`
	s := httpStack(t, `routeConfig: {virtualHosts: [{name: v, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: c}, `+per+`}]}]},`,
		httpRBAC("DENY", "d: "+policy("{any: true}", "{any: true}")))
	if v := Authorize(s, get("/a"), Peer{}); v.Decision != Undecided || len(v.Unsure) != 1 {
		t.Errorf("%s (%s), want that it is undecided", v.Decision, v.Why)
	}
	named := httpStack(t, `rds: {routeConfigName: r},`, httpRBAC("DENY", "d: "+policy("{any: true}", "{any: true}")))
	if v := Authorize(named, get("/a"), Peer{}); v.Decision != Denied {
		t.Errorf("%s (%s), want that it is denied", v.Decision, v.Why)
	}
	named.Adopt(s.HTTP.GetRouteConfig())
	if v := Authorize(named, get("/a"), Peer{}); v.Decision != Undecided {
		t.Errorf("%s (%s), want that it is undecided once the routes are known", v.Decision, v.Why)
	}
}
