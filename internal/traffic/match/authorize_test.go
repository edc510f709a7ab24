package match

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3" // JSON names it
	"github.com/google/go-cmp/cmp"

	"mizzen.dev/mizzen"
)

const (
	anyURL   = "type.googleapis.com/envoy.extensions."
	router   = `{name: envoy.filters.http.router}`
	tlsPart  = `transportSocket: {name: tls, typedConfig: {"@type": ` + anyURL + `transport_sockets.tls.v3.DownstreamTlsContext, requireClientCertificate: true}}`
	identity = "{authenticated: {principalName: {exact: 'spiffe://cluster.local/ns/%s'}}}"
)

func httpRBAC(action, policies string) string {
	return `{name: envoy.filters.http.rbac, typedConfig: {"@type": ` + anyURL + `filters.http.rbac.v3.RBAC, rules: {action: ` + action + `, policies: {` + policies + `}}}}`
}

func path(kind, value string) string { return "{urlPath: {path: {" + kind + ": " + value + "}}}" }

func policy(permission, principal string) string {
	return "{permissions: [" + permission + "], principals: [" + principal + "]}"
}

// httpStack makes a chain that terminates TLS and has HTTP filters.
func httpStack(t testing.TB, more string, filters ...string) *Stack {
	t.Helper()
	text := "name: inbound\n" + tlsPart + `
filters:
- name: hcm
  typedConfig: {"@type": ` + anyURL + `filters.network.http_connection_manager.v3.HttpConnectionManager, normalizePath: true, ` + more + `httpFilters: [` + strings.Join(append(filters, router), ", ") + `]}`
	return open(t, text)
}

func open(t testing.TB, text string) *Stack {
	t.Helper()
	s, err := Open(read(t, text, &listenerv3.FilterChain{}))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// as makes a peer; "" speaks plaintext.
func as(id string) Peer {
	p := Peer{Connection: from("10.244.0.99:40000", "10.244.0.1:8080", nil)}
	if id != "" {
		p.TLS, p.Identity = true, "cluster.local/ns/"+id
	}
	return p
}

func at8(source string, port uint16) func(*Peer) {
	return func(p *Peer) {
		p.Source = netip.MustParseAddrPort(source + ":1")
		p.Destination = netip.AddrPortFrom(p.Destination.Addr(), port)
	}
}

func sayVerdict(v Verdict) string {
	return strings.TrimSpace(fmt.Sprintf("%s %d %s", v.Decision, v.Status, v.Policy))
}

const web, other, evil, ops = "shop/sa/web", "shop/sa/other", "shop/sa/evil", "ops/sa/job"

// TestPolicies is the table of cases that the prototype asked of a real Envoy.
func TestPolicies(t *testing.T) {
	notHeader := "{notId: {header: {name: x-tier, stringMatch: {exact: free}}}}"
	cidr := func(kind, ip string) string { return "{" + kind + ": {addressPrefix: " + ip + ", prefixLen: 24}}" }
	template := `{uriTemplate: {name: t, typedConfig: {"@type": ` + anyURL + `path.match.uri_template.v3.UriTemplateMatchConfig, pathTemplate: "/tmpl/*/x"}}}`
	claim := func(name, value string) string {
		return "{metadata: {filter: envoy.filters.http.jwt_authn, path: [{key: payload}, {key: " + name + "}], value: {stringMatch: {exact: " + value + "}}}}"
	}
	s := httpStack(t, "",
		`{name: envoy.filters.http.jwt_authn, typedConfig: {"@type": `+anyURL+`filters.http.jwt_authn.v3.JwtAuthentication, bypassCorsPreflight: true,
  providers: {origins-0: {issuer: issuer.example.com, payloadInMetadata: payload, audiences: [api]}},
  rules: [{match: {prefix: /}, requires: {requiresAny: {requirements: [{providerName: origins-0}, {allowMissing: {}}]}}}]}}`,
		httpRBAC("LOG", "audit: "+policy(path("prefix", "/api"), "{any: true}")),
		httpRBAC("DENY", "deny-evil: "+policy("{any: true}", "{authenticated: {principalName: {safeRegex: {regex: 'spiffe://.*/sa/evil'}}}}")+
			", deny-force: "+policy("{header: {name: ':method', stringMatch: {exact: DELETE}}}", "{notId: {header: {name: x-force, stringMatch: {exact: 'yes'}}}}")+
			", deny-secret: "+policy(path("prefix", "/api/secret"), "{any: true}")),
		httpRBAC("ALLOW", strings.Join([]string{
			"a-api: " + policy("{andRules: {rules: ["+path("prefix", "/api/")+", {header: {name: ':method', stringMatch: {exact: GET}}}, {destinationPort: 8080}]}}", fmt.Sprintf(identity, "shop/sa/web")),
			"b-ops: " + policy("{orRules: {rules: ["+path("exact", "/admin")+", "+path("suffix", "/health")+"]}}", "{authenticated: {principalName: {safeRegex: {regex: '.*/ns/ops/.*'}}}}"),
			"c-jwt: " + policy(path("prefix", "/jwt"), "{andIds: {ids: ["+claim("iss", "issuer.example.com")+", "+claim("role", "admin")+"]}}"),
			"d-public: " + policy("{orRules: {rules: ["+path("prefix", "/public")+", "+path("exact", "/ext")+"]}}", "{any: true}"),
			"e-ip: " + policy(path("exact", "/ip"), cidr("directRemoteIp", "10.244.7.0")),
			"f-rip: " + policy(path("exact", "/rip"), cidr("remoteIp", "203.0.113.0")),
			"g-tmpl: " + policy(template, "{any: true}"),
			"h-host: " + policy("{andRules: {rules: ["+path("exact", "/host")+", {header: {name: ':authority', stringMatch: {exact: api.example.com, ignoreCase: true}}}]}}", "{any: true}"),
			"i-nothdr: " + policy(path("exact", "/nothdr"), notHeader),
		}, ", ")),
	)
	token := func(role string, change func(*Token)) func(*Request) {
		return func(r *Request) {
			r.Token = &Token{Issuer: "issuer.example.com", Subject: "bob", Audiences: []string{"api"}, Claims: map[string]any{"role": role}, Valid: true}
			if change != nil {
				change(r.Token)
			}
		}
	}
	cases := []struct {
		id   string
		r    Request
		peer func(*Peer)
		req  func(*Request)
		want string
	}{
		{web, get("/api/x"), nil, nil, "allowed 0 a-api"},
		{web, get("POST /api/x"), nil, nil, "denied 403"},
		{web, get("/api/x?y=/../z"), nil, nil, "allowed 0 a-api"},
		{web, get("/api"), nil, nil, "denied 403"},
		{web, get("/API/x"), nil, nil, "denied 403"},
		{web, get("//api/x"), nil, nil, "denied 403"},
		{web, get("/x/../api/x"), nil, nil, "allowed 0 a-api"},
		{web, get("/%61pi/x"), nil, nil, "allowed 0 a-api"},
		{web, get("/api/s%65cret"), nil, nil, "denied 403 deny-secret"},
		{web, get("/api//secret"), nil, nil, "allowed 0 a-api"},
		{web, get("/api%2fx"), nil, nil, "denied 403"},
		{other, get("/api/x"), nil, nil, "denied 403"},
		{web, get("/api/x"), at8("10.244.0.99", 8082), nil, "denied 403"},
		{evil, get("/public"), nil, nil, "denied 403 deny-evil"},
		{other, get("/public"), nil, nil, "allowed 0 d-public"},
		{"", get("/public"), nil, nil, "allowed 0 d-public"},
		{ops, get("/a/b/health"), nil, nil, "allowed 0 b-ops"},
		{ops, get("/admin"), nil, nil, "allowed 0 b-ops"},
		{other, get("/admin"), nil, nil, "denied 403"},
		{other, get("/jwt"), nil, nil, "denied 403"},
		{other, get("/jwt"), nil, token("admin", nil), "allowed 0 c-jwt"},
		{other, get("/jwt"), nil, token("user", nil), "denied 403"},
		{other, get("/public"), nil, token("admin", func(t *Token) { t.Valid = false }), "denied 401"},
		{other, get("/public"), nil, token("admin", func(t *Token) { t.Issuer = "nobody" }), "denied 401"},
		{other, get("/public"), nil, token("admin", func(t *Token) { t.Audiences = []string{"x"} }), "denied 403"},
		{other, get("DELETE /public"), nil, nil, "denied 403 deny-force"},
		{other, get("DELETE /public", "x-force: yes"), nil, nil, "allowed 0 d-public"},
		{other, get("DELETE /public", "x-force: no", "x-force: yes"), nil, nil, "allowed 0 d-public"},
		{other, get("/ip"), at8("10.244.7.5", 8080), nil, "allowed 0 e-ip"},
		{other, get("/ip"), at8("10.244.8.5", 8080), nil, "denied 403"},
		{other, get("/rip", "x-forwarded-for: 203.0.113.7"), nil, nil, "allowed 0 f-rip"},
		{other, get("/rip"), at8("203.0.113.9", 8080), nil, "allowed 0 f-rip"},
		{other, get("/rip", "x-forwarded-for: 203.0.113.7, 10.1.1.1"), nil, nil, "denied 403"},
		{other, get("/rip", "x-forwarded-for: 10.1.1.1", "x-forwarded-for: 203.0.113.7"), nil, nil, "allowed 0 f-rip"},
		{other, get("/tmpl/a/x"), nil, nil, "allowed 0 g-tmpl"},
		{other, get("/tmpl/a/b/x"), nil, nil, "denied 403"},
		{other, get("/host", "host: API.example.com"), nil, nil, "allowed 0 h-host"},
		{other, get("/host", "host: api.example.com:8080"), nil, nil, "denied 403"},
		{other, get("/nothdr"), nil, nil, "allowed 0 i-nothdr"},
		{other, get("/nothdr", "x-tier: free", "x-tier: gold"), nil, nil, "denied 403"},
		{other, get("/a b"), nil, nil, "denied 400"},
	}
	for _, c := range cases {
		p := as(c.id)
		if c.peer != nil {
			c.peer(&p)
		}
		if c.req != nil {
			c.req(&c.r)
		}
		v := Authorize(s, c.r, p)
		if got := sayVerdict(v); got != c.want {
			t.Errorf("%s %s %s %v: %s, want %s (%s)", c.id, c.r.Method, c.r.Path, c.r.Headers, got, c.want, v.Why)
		}
		if e := Explain(s, c.r, p); sayVerdict(e) != c.want || v.Status == 403 && v.Policy == "" && c.req == nil && len(e.Tried) == 0 {
			t.Errorf("%s %s: explained %s %v", c.id, c.r.Path, sayVerdict(e), e.Tried)
		}
	}
	for path, want := range map[string]int{"/api/x": 1, "/x": 0} {
		if v := Authorize(s, get(path), as(web)); len(v.Audited) != want {
			t.Errorf("%s: audited by %v", path, v.Audited)
		}
	}
}

func TestWhyNot(t *testing.T) {
	s := httpStack(t, "", httpRBAC("ALLOW",
		"a: "+policy(path("prefix", "/api/"), fmt.Sprintf(identity, "shop/sa/web"))+
			", b: "+policy("{andRules: {rules: ["+path("exact", "/b")+", {notRule: {destinationPort: 81}}]}}", "{orIds: {ids: [{any: true}, "+fmt.Sprintf(identity, "x/sa/y")+"]}}")))
	got := Explain(s, get("/api/x"), as(other)).Tried
	want := []TriedPolicy{
		{"a", `the caller is cluster.local/ns/shop/sa/other at 10.244.0.99 without a token, wanted identity exact "spiffe://cluster.local/ns/shop/sa/web"`},
		{"b", `the request is GET /api/x to host h at port 8080, wanted (path exact "/b" and not port 81)`},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if Authorize(s, get("/api/x"), as(other)).Tried != nil {
		t.Error("Authorize explains")
	}
}

func TestExternal(t *testing.T) {
	custom := `{name: envoy.filters.http.rbac, typedConfig: {"@type": ` + anyURL + `filters.http.rbac.v3.RBAC, shadowRulesStatPrefix: istio_ext_authz_, shadowRules: {action: DENY, policies: {"istio-ext-authz-p-ns[shop]": ` + policy(path("prefix", "/ext"), "{any: true}") + `}}}}`
	ask := `{name: envoy.filters.http.ext_authz, typedConfig: {"@type": ` + anyURL + `filters.http.ext_authz.v3.ExtAuthz, httpService: {serverUri: {cluster: authz}}, filterEnabledMetadata: {filter: envoy.filters.http.rbac, path: [{key: istio_ext_authz_shadow_effective_policy_id}], value: {stringMatch: {prefix: istio-ext-authz-p}}}}}`
	s := httpStack(t, "", custom, ask, httpRBAC("DENY", "deny: "+policy("{any: true}", fmt.Sprintf(identity, "shop/sa/evil"))))
	for _, c := range []struct{ id, path, want, asks string }{
		{web, "/ext", "undecided 0", "authz"},
		{web, "/x", "allowed 0", ""},
		{evil, "/ext", "denied 403 deny", "authz"},
		{evil, "/x", "denied 403 deny", ""},
	} {
		v := Authorize(s, get(c.path), as(c.id))
		if sayVerdict(v) != c.want || strings.Join(v.Asks, "") != c.asks || len(v.Shadow) > 0 {
			t.Errorf("%s %s: %s asks %v shadow %v", c.id, c.path, sayVerdict(v), v.Asks, v.Shadow)
		}
	}
}

func TestDryRun(t *testing.T) {
	rbac := func(action string) string {
		return `{name: envoy.filters.http.rbac, typedConfig: {"@type": ` + anyURL + `filters.http.rbac.v3.RBAC, shadowRulesStatPrefix: istio_dry_run_, shadowRules: {action: ` + action + `, policies: {p: ` + policy(path("prefix", "/a"), "{any: true}") + `}}}}`
	}
	s := httpStack(t, "", rbac("DENY"), rbac("ALLOW"))
	for path, want := range map[string][]Shadow{"/a": {{true, "p"}, {false, "p"}}, "/b": {{false, ""}, {true, ""}}} {
		v := Authorize(s, get(path), as(web))
		if diff := cmp.Diff(want, v.Shadow); diff != "" || v.Decision != Allowed {
			t.Errorf("%s: %s %s", path, v.Decision, diff)
		}
	}
}

func TestNetworkPolicies(t *testing.T) {
	tcp := func(action, policies string) *Stack {
		return open(t, tlsPart+`
filters:
- {name: envoy.filters.network.rbac, typedConfig: {"@type": `+anyURL+`filters.network.rbac.v3.RBAC, statPrefix: tcp., rules: {action: `+action+`, policies: {`+policies+`}}}}
- {name: envoy.filters.network.tcp_proxy, typedConfig: {"@type": `+anyURL+`filters.network.tcp_proxy.v3.TcpProxy, statPrefix: x, weightedClusters: {clusters: [{name: a, weight: 1}, {name: b, weight: 3}]}}}`)
	}
	allow := tcp("ALLOW", "p: "+policy("{andRules: {rules: [{destinationPort: 8080}, {requestedServerName: {safeRegex: {regex: '.*'}}}]}}", fmt.Sprintf(identity, "shop/sa/web"))+
		", q: "+policy(path("prefix", "/"), "{any: true}"))
	for id, want := range map[string]string{web: "allowed 0 p", other: "denied 0", "": "denied 0"} {
		if got := sayVerdict(Authorize(allow, Request{}, as(id))); got != want {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
	}
	deny := tcp("DENY", "d: "+policy("{notRule: "+path("prefix", "/")+"}", "{notId: {header: {name: x, presentMatch: true}}}"))
	if got := sayVerdict(Authorize(deny, get("/", "x: 1"), as(web))); got != "denied 0 d" {
		t.Errorf("what only HTTP has is absent on TCP: %s", got)
	}
	want := []Destination{{Cluster: "a", Weight: 1, Percent: 25}, {Cluster: "b", Weight: 3, Percent: 75}}
	if diff := cmp.Diff(want, allow.TCP); diff != "" {
		t.Error(diff)
	}
}

func TestUndecided(t *testing.T) {
	condition := httpRBAC("ALLOW", "p: {permissions: [{any: true}], principals: [{any: true}], condition: {constExpr: {boolValue: true}}}")
	lua := `{name: my.lua, typedConfig: {"@type": type.googleapis.com/google.protobuf.Struct, value: {}}}`
	for name, filter := range map[string]string{
		"CEL": condition, "unknown filter": lua,
		"sourced metadata": httpRBAC("DENY", "p: "+policy("{any: true}", "{notId: {filterState: {key: x}}}")),
	} {
		v := Authorize(httpStack(t, "", filter), get("/"), as(web))
		if v.Decision != Undecided || len(v.Unsure) == 0 {
			t.Errorf("%s: %s %v", name, v.Decision, v.Unsure)
		}
	}
	sure := httpStack(t, "", lua, httpRBAC("ALLOW", ""))
	if v := Authorize(sure, get("/"), as(web)); v.Decision != Denied {
		t.Errorf("denied in any case: %s", v.Decision)
	}
	broken := &listenerv3.FilterChain{Name: "x", Filters: read(t, `filters: [{name: f, typedConfig: {"@type": `+anyURL+`filters.network.http_connection_manager.v3.HttpConnectionManager, httpFilters: [{name: odd}]}}]`, &listenerv3.FilterChain{}).Filters}
	if _, err := Open(broken); mizzen.KindOf(err) != mizzen.Invalid || !strings.Contains(err.Error(), "odd") {
		t.Errorf("error %v", err)
	}
}

func TestWaypointIdentity(t *testing.T) {
	s := open(t, `filters: [{name: hcm, typedConfig: {"@type": `+anyURL+`filters.network.http_connection_manager.v3.HttpConnectionManager, httpFilters: [`+
		httpRBAC("ALLOW", "p: "+policy("{any: true}", "{filterState: {key: io.istio.peer_principal, stringMatch: {exact: 'spiffe://cluster.local/ns/shop/sa/web'}}}"))+`]}}]`)
	for id, want := range map[string]string{web: "allowed 0 p", other: "denied 403", "": "denied 403"} {
		if got := sayVerdict(Authorize(s, get("/"), as(id))); got != want {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
	}
}

// TestWaypointAddress: inside of Envoy, a socket has no address, so that no range
// has it. What X-Forwarded-For or the tunnel says is another matter.
func TestWaypointAddress(t *testing.T) {
	in := func(kind string) string { return "{" + kind + ": {addressPrefix: 10.244.0.0, prefixLen: 16}}" }
	s := open(t, `filters: [{name: hcm, typedConfig: {"@type": `+anyURL+`filters.network.http_connection_manager.v3.HttpConnectionManager, httpFilters: [`+
		httpRBAC("ALLOW", "direct: "+policy(path("exact", "/direct"), in("directRemoteIp"))+
			", not: "+policy(path("exact", "/not"), "{notId: "+in("directRemoteIp")+"}")+", remote: "+policy(path("exact", "/remote"), in("remoteIp")))+`]}}]`)
	cases := map[string][2]string{
		"/direct": {"allowed 0 direct", "denied 403"}, "/not": {"denied 403", "allowed 0 not"}, "/remote": {"allowed 0 remote", "allowed 0 remote"},
	}
	for path, want := range cases {
		for i, internal := range []bool{false, true} {
			peer := as(web)
			peer.Internal = internal
			if got := sayVerdict(Authorize(s, get(path), peer)); got != want[i] {
				t.Errorf("%s, internal %t: %s, want %s", path, internal, got, want[i])
			}
		}
	}
	peer := as(web)
	peer.Internal = true
	tried := Explain(s, get("/direct"), peer).Tried
	if want := "the caller is cluster.local/ns/shop/sa/web at 10.244.0.99 behind a tunnel without a token, wanted source 10.244.0.0/16"; tried[0].Why != want {
		t.Errorf("%q, want %q", tried[0].Why, want)
	}
}

// TestToldCaller: a waypoint may write who is behind a tunnel, whatever the
// client says itself. With what words is not known here.
func TestToldCaller(t *testing.T) {
	header := func(m string) string { return "{header: {name: x-forwarded-client-cert, " + m + "}}" }
	s := open(t, `filters: [{name: hcm, typedConfig: {"@type": `+anyURL+`filters.network.http_connection_manager.v3.HttpConnectionManager, forwardClientCertDetails: ALWAYS_FORWARD_ONLY, httpFilters: [`+
		`{name: istio.waypoint.xfcc_client_identity, typedConfig: {"@type": `+anyURL+`filters.http.header_mutation.v3.HeaderMutation}}, `+
		httpRBAC("ALLOW", "there: "+policy(path("exact", "/there"), header("presentMatch: true"))+", value: "+policy(path("exact", "/value"), header("stringMatch: {exact: mine}")))+`]}}]`)
	for path, want := range map[string]string{"/there": "allowed 0 there", "/value": "undecided 0"} {
		for _, r := range []Request{get(path), get(path, "x-forwarded-client-cert: mine")} {
			if got := sayVerdict(Authorize(s, r, as(web))); got != want {
				t.Errorf("%s %v: %s, want %s", path, r.Headers, got, want)
			}
		}
	}
}
