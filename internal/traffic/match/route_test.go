package match

import (
	"fmt"
	"strings"
	"testing"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"sigs.k8s.io/yaml"
)

// read decodes a message that is written as YAML.
func read[T proto.Message](t testing.TB, text string, into T) T {
	t.Helper()
	b, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := protojson.Unmarshal(b, into); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return into
}

// hosts makes a route configuration of virtual hosts; every route that says
// nothing else forwards to a cluster of its own name.
func hosts(t testing.TB, text string) *routev3.RouteConfiguration {
	t.Helper()
	rc := read(t, text, &routev3.RouteConfiguration{})
	for _, vh := range rc.VirtualHosts {
		for _, r := range vh.Routes {
			if r.Action == nil {
				r.Action = &routev3.Route_Route{Route: &routev3.RouteAction{ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: r.Name}}}
			}
		}
	}
	return rc
}

// one makes a route configuration of one host whose routes are listed.
func one(t testing.TB, routes string) *routev3.RouteConfiguration {
	t.Helper()
	return hosts(t, "virtualHosts: [{name: v, domains: ['*'], routes: ["+routes+"]}]")
}

// get makes a request of "METHOD path" and header lines "name: value"; a host
// other than "h" is given as the header host.
func get(line string, headers ...string) Request {
	r := Request{Method: "GET", Host: "h"}
	method, path, ok := strings.Cut(line, " ")
	if ok {
		r.Method, r.Path = method, path
	} else {
		r.Path = line
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		switch name {
		case "host":
			r.Host = value
		case "scheme":
			r.Scheme = value
		default:
			r.Headers = append(r.Headers, Header{name, value})
		}
	}
	return r
}

// say writes an outcome in one line.
func say(o Outcome) string {
	switch o.Kind {
	case Forward:
		return fmt.Sprintf("%s %s%s", o.Cluster, o.Host, o.Path)
	case Redirect:
		return fmt.Sprintf("%d %s", o.Status, o.Location)
	}
	return fmt.Sprintf("%s %d", o.Kind, o.Status)
}

func TestHostChoice(t *testing.T) {
	rc := hosts(t, `
virtualHosts:
- {name: any, domains: ["*"], routes: [{name: any, match: {prefix: /}}]}
- {name: suffix, domains: ["*.example.com"], routes: [{name: suffix, match: {prefix: /}}]}
- {name: longer, domains: ["*-a.example.com"], routes: [{name: longer, match: {prefix: /}}]}
- {name: prefix, domains: ["api.*"], routes: [{name: prefix, match: {prefix: /}}]}
- {name: exact, domains: [api.example.com, "Upper.Example.com", "port.example.com:8080", "[::1]"], routes: [{name: exact, match: {prefix: /}}]}
`)
	ported := proto.Clone(rc).(*routev3.RouteConfiguration)
	ported.IgnorePortInHostMatching = true
	cases := []struct {
		host, want, ignoringPort string
	}{
		{"api.example.com", "exact", "exact"},
		{"API.EXAMPLE.COM", "exact", "exact"},
		{"upper.example.com", "exact", "exact"},
		{"api.example.com:80", "prefix", "exact"},
		{"port.example.com:8080", "exact", "suffix"},
		{"www.example.com", "suffix", "suffix"},
		{"a.b.example.com", "suffix", "suffix"},
		{"x-a.example.com", "longer", "longer"},
		{"-a.example.com", "suffix", "suffix"},
		{".example.com", "any", "any"},
		{"example.com", "any", "any"},
		{"api.other.org", "prefix", "prefix"},
		{"api.", "any", "any"},
		{"www.example.com:x", "any", "suffix"},
		{"[::1]", "exact", "exact"},
		{"[::1]:80", "any", "exact"},
		{"www.example.com.", "any", "any"},
	}
	for _, c := range cases {
		r := get("/", "host: "+c.host)
		if got := Route(rc, r, Options{}).Cluster; got != c.want {
			t.Errorf("host %s: %s, want %s", c.host, got, c.want)
		}
		if got := Route(ported, r, Options{}).Cluster; got != c.ignoringPort {
			t.Errorf("host %s, ignoring the port: %s, want %s", c.host, got, c.ignoringPort)
		}
	}
	if got := Route(ported, get("/", "host: www.example.com."), Options{StripTrailingDot: true}); got.Cluster != "suffix" {
		t.Errorf("trailing dot: %s", got.Cluster)
	}
	if got := Route(rc, get("/", "host: api.example.com:81"), Options{StripPort: true}); got.Cluster != "exact" || got.Host != "api.example.com" {
		t.Errorf("strip port: %s %s", got.Cluster, got.Host)
	}
	if got := Route(&routev3.RouteConfiguration{}, get("/"), Options{}); say(got) != "no-host 404" {
		t.Errorf("no virtual host: %s", say(got))
	}
}

func TestMatches(t *testing.T) {
	jason := `{prefix: /, headers: [{name: end-user, stringMatch: {exact: jason}}]}`
	cases := []struct {
		name, match string
		yes, no     []Request
	}{
		{"exact path", `{path: /a}`, []Request{get("/a"), get("/a?x=/b")}, []Request{get("/a/"), get("/A"), get("/ab"), get("/")}},
		{"exact path in any case", `{path: /Ab, caseSensitive: false}`, []Request{get("/aB")}, []Request{get("/abc")}},
		{"prefix", `{prefix: /a}`, []Request{get("/a"), get("/ab"), get("/a/b?c")}, []Request{get("/A"), get("/"), get("/b?/a")}},
		{"prefix in any case", `{prefix: /A, caseSensitive: false}`, []Request{get("/ab")}, []Request{get("/b")}},
		{"separated prefix", `{pathSeparatedPrefix: /a}`, []Request{get("/a"), get("/a/"), get("/a/b"), get("/a?q")}, []Request{get("/ab"), get("/"), get("/A")}},
		{"regex", `{safeRegex: {regex: "/[0-9]+"}}`, []Request{get("/12"), get("/1?x=y")}, []Request{get("/12a"), get("/x/12"), get("/")}},
		{"regex keeps case", `{safeRegex: {regex: "/a"}, caseSensitive: false}`, []Request{get("/a")}, []Request{get("/A")}},
		{"regex of alternatives", `{safeRegex: {regex: "/a|/b.*"}}`, []Request{get("/a"), get("/bc")}, []Request{get("/ac")}},
		{"invalid regex", `{safeRegex: {regex: "/a("}}`, nil, []Request{get("/a("), get("/a")}},
		{"unbalanced regex", `{safeRegex: {regex: "/a)(?:/b"}}`, nil, []Request{get("/a"), get("/a/b")}},
		{"exact header", jason, []Request{get("/", "end-user: jason"), get("/", "End-User: jason"), get("/", "end-user: x", "end-user: jason")}, []Request{get("/"), get("/", "end-user: Jason"), get("/", "end-user: jason,x")}},
		{"header in any case", `{prefix: /, headers: [{name: a, stringMatch: {exact: Jason, ignoreCase: true}}]}`, []Request{get("/", "a: jASON")}, []Request{get("/", "a: jaso")}},
		{"header prefix", `{prefix: /, headers: [{name: a, stringMatch: {prefix: ja}}]}`, []Request{get("/", "a: ja"), get("/", "a: jax")}, []Request{get("/", "a: xja"), get("/", "a: JA")}},
		{"header suffix in any case", `{prefix: /, headers: [{name: a, stringMatch: {suffix: Son, ignoreCase: true}}]}`, []Request{get("/", "a: jaSON")}, []Request{get("/", "a: on")}},
		{"header contains", `{prefix: /, headers: [{name: a, stringMatch: {contains: b, ignoreCase: true}}]}`, []Request{get("/", "a: aBc")}, []Request{get("/", "a: ac")}},
		{"header regex", `{prefix: /, headers: [{name: a, stringMatch: {safeRegex: {regex: "v[12]"}}}]}`, []Request{get("/", "a: v1")}, []Request{get("/", "a: v12"), get("/")}},
		{"header present", `{prefix: /, headers: [{name: a, presentMatch: true}]}`, []Request{get("/", "a: ")}, []Request{get("/")}},
		{"header absent", `{prefix: /, headers: [{name: a, presentMatch: true, invertMatch: true}]}`, []Request{get("/")}, []Request{get("/", "a: 1")}},
		{"header absent too", `{prefix: /, headers: [{name: a, presentMatch: false}]}`, []Request{get("/")}, []Request{get("/", "a: 1")}},
		{"header without specifier", `{prefix: /, headers: [{name: a}]}`, []Request{get("/", "a: 1")}, []Request{get("/")}},
		{"inverted header", `{prefix: /, headers: [{name: a, stringMatch: {exact: x}, invertMatch: true}]}`, []Request{get("/", "a: y")}, []Request{get("/"), get("/", "a: x"), get("/", "a: y", "a: x")}},
		{"inverted, absent is empty", `{prefix: /, headers: [{name: a, stringMatch: {exact: x}, invertMatch: true, treatMissingHeaderAsEmpty: true}]}`, []Request{get("/"), get("/", "a: y")}, []Request{get("/", "a: x")}},
		{"range", `{prefix: /, headers: [{name: a, rangeMatch: {start: "1", end: "3"}}]}`, []Request{get("/", "a: 1"), get("/", "a: 2")}, []Request{get("/", "a: 3"), get("/", "a: x"), get("/")}},
		{"inverted range", `{prefix: /, headers: [{name: a, rangeMatch: {start: "1", end: "3"}, invertMatch: true}]}`, []Request{get("/", "a: 3"), get("/", "a: x")}, []Request{get("/", "a: 1"), get("/")}},
		{"joined header", `{prefix: /, headers: [{name: user-agent, stringMatch: {exact: "a,b"}}]}`, []Request{get("/", "user-agent: a", "user-agent: b")}, []Request{get("/", "user-agent: a")}},
		{"deprecated exact", `{prefix: /, headers: [{name: a, exactMatch: x}]}`, []Request{get("/", "a: x")}, []Request{get("/", "a: y")}},
		{"deprecated prefix", `{prefix: /, headers: [{name: a, prefixMatch: x}]}`, []Request{get("/", "a: xy")}, []Request{get("/", "a: y")}},
		{"method", `{prefix: /, headers: [{name: ":method", stringMatch: {exact: POST}}]}`, []Request{get("POST /")}, []Request{get("/"), get("PUT /")}},
		{"authority", `{prefix: /, headers: [{name: ":authority", stringMatch: {prefix: a.}}]}`, []Request{get("/", "host: a.b")}, []Request{get("/", "host: A.b")}},
		{"scheme", `{prefix: /, headers: [{name: ":scheme", stringMatch: {exact: https}}]}`, []Request{get("/", "scheme: https")}, []Request{get("/")}},
		{"query", `{prefix: /, queryParameters: [{name: q, stringMatch: {exact: "1"}}]}`, []Request{get("/?q=1"), get("/?a&q=1"), get("/?q=1&q=2")}, []Request{get("/"), get("/?q=2&q=1"), get("/?Q=1"), get("/?q=%31"), get("/?q")}},
		{"query present", `{prefix: /, queryParameters: [{name: q, presentMatch: true}]}`, []Request{get("/?q"), get("/?q=")}, []Request{get("/?x=q"), get("/q")}},
		{"query absent", `{prefix: /, queryParameters: [{name: q, presentMatch: false}]}`, []Request{get("/")}, []Request{get("/?q")}},
		{"query without specifier", `{prefix: /, queryParameters: [{name: q}]}`, []Request{get("/?q=1")}, []Request{get("/")}},
		{"grpc", `{prefix: /, grpc: {}}`, []Request{get("/", "content-type: application/grpc"), get("/", "content-type: application/grpc+proto")}, []Request{get("/"), get("/", "content-type: application/grpc-web")}},
		{"two conditions", `{prefix: /a, headers: [{name: a, presentMatch: true}, {name: b, presentMatch: true}]}`, []Request{get("/a", "a: 1", "b: 1")}, []Request{get("/a", "a: 1"), get("/", "a: 1", "b: 1")}},
		{"share", `{prefix: /, runtimeFraction: {defaultValue: {numerator: 10}}}`, []Request{{Method: "GET", Path: "/", Host: "h", Bucket: 9}, {Method: "GET", Path: "/", Host: "h", Bucket: 109}}, []Request{{Method: "GET", Path: "/", Host: "h", Bucket: 10}}},
		{"not understood", `{prefix: /, filterState: [{key: a, stringMatch: {exact: b}}]}`, nil, []Request{get("/")}},
		{"connect", `{connectMatcher: {}}`, nil, []Request{get("/")}},
	}
	for _, c := range cases {
		rc := one(t, "{name: hit, match: "+c.match+"}")
		for want, requests := range map[string][]Request{"hit": c.yes, "": c.no} {
			for _, r := range requests {
				got := Route(rc, r, Options{})
				if got.Cluster != want {
					t.Errorf("%s: %+v: got %s", c.name, r, say(got))
				}
				if want == "" && (len(got.Tried) != 1 || got.Tried[0].Why == "") {
					t.Errorf("%s: %+v: no reason", c.name, r)
				}
			}
		}
	}
}

func TestClaims(t *testing.T) {
	match := `{prefix: /, dynamicMetadata: [{filter: envoy.filters.http.jwt_authn, path: [{key: payload}, {key: group}, {key: id}], value: {orMatch: {valueMatchers: [{listMatch: {oneOf: {stringMatch: {exact: dev}}}}, {stringMatch: {exact: dev}}]}}}]}`
	not := strings.Replace(match, "value:", "invert: true, value:", 1)
	cases := []struct {
		token   *Token
		is, not bool
	}{
		{nil, false, true},
		{&Token{Valid: true}, false, true},
		{&Token{Valid: true, Claims: map[string]any{"group": map[string]any{"id": "dev"}}}, true, false},
		{&Token{Claims: map[string]any{"group": map[string]any{"id": "dev"}}}, false, true},
		{&Token{Valid: true, Claims: map[string]any{"group": map[string]any{"id": []any{"ops", "dev"}}}}, true, false},
		{&Token{Valid: true, Claims: map[string]any{"group": map[string]any{"id": []string{"ops"}}}}, false, true},
		{&Token{Valid: true, Claims: map[string]any{"group": "dev"}}, false, true},
	}
	for i, c := range cases {
		r := get("/")
		r.Token = c.token
		if got := Route(one(t, "{name: hit, match: "+match+"}"), r, Options{}); (got.Kind == Forward) != c.is {
			t.Errorf("case %d: %s", i, say(got))
		}
		if got := Route(one(t, "{name: hit, match: "+not+"}"), r, Options{}); (got.Kind == Forward) != c.not {
			t.Errorf("case %d inverted: %s", i, say(got))
		}
	}
}

func TestReasons(t *testing.T) {
	cases := []struct {
		match string
		r     Request
		want  string
	}{
		{`{prefix: /b}`, get("/a?x"), "path /a is not prefix /b"},
		{`{path: /b, caseSensitive: false}`, get("/a"), "path /a is not exact /b in any case"},
		{`{pathSeparatedPrefix: /b}`, get("/bc"), "path /bc is not prefix /b alone or before a slash"},
		{`{safeRegex: {regex: "/b+"}}`, get("/a"), `path /a is not regex "/b+"`},
		{`{safeRegex: {regex: "("}}`, get("/a"), `path /a is not regex "(", which is invalid: Envoy rejects it and it never matches`},
		{`{prefix: /, headers: [{name: end-user, stringMatch: {exact: jason}}]}`, get("/"), `header end-user: absent, wanted exact "jason"`},
		{`{prefix: /, headers: [{name: end-user, stringMatch: {exact: jason}}]}`, get("/", "end-user: a", "end-user: b"), `header end-user: is "a" and "b", wanted exact "jason"`},
		{`{prefix: /, headers: [{name: a, stringMatch: {suffix: x}, invertMatch: true}]}`, get("/", "a: x"), `header a: is "x", wanted not suffix "x"`},
		{`{prefix: /, headers: [{name: ":method", stringMatch: {exact: POST}}]}`, get("/"), `method: is "GET", wanted exact "POST"`},
		{`{prefix: /, headers: [{name: a, presentMatch: true, invertMatch: true}]}`, get("/", "a: 1"), `header a: is "1", wanted absence`},
		{`{prefix: /, headers: [{name: a, rangeMatch: {start: "1", end: "3"}}]}`, get("/", "a: 3"), `header a: is "3", wanted a number from 1 to below 3`},
		{`{prefix: /, queryParameters: [{name: q, stringMatch: {prefix: a}}]}`, get("/?q=b"), `query parameter q: is "b", wanted prefix "a"`},
		{`{prefix: /, queryParameters: [{name: q, presentMatch: true}]}`, get("/"), `query parameter q: absent, wanted any value`},
		{`{prefix: /, grpc: {}}`, get("/"), "the request is not gRPC"},
		{`{prefix: /, runtimeFraction: {defaultValue: {numerator: 5, denominator: TEN_THOUSAND}}}`, Request{Method: "GET", Path: "/", Host: "h", Bucket: 5}, "only 0.05 % of the requests match"},
		{`{prefix: /, dynamicMetadata: [{filter: envoy.filters.http.jwt_authn, path: [{key: payload}, {key: role}], value: {stringMatch: {exact: dev}}}]}`, get("/"), `claim role: wanted exact "dev"`},
		{`{prefix: /, tlsContext: {presented: true}}`, get("/"), "the connection is in plaintext, and the route wants a certificate"},
		{`{prefix: /, tlsContext: {presented: true}}`, Request{Method: "GET", Path: "/", Host: "h", Scheme: "https"}, "the route depends on the client's certificate, which is not known here"},
		{`{prefix: /, filterState: [{key: a, stringMatch: {exact: b}}]}`, get("/"), "the route depends on filter state, which is not known here"},
		{`{prefix: /, cookies: [{name: user, stringMatch: {exact: jason}}]}`, get("/", "cookie: user=jasonx"), `cookie user: is "jasonx", wanted exact "jason"`},
		{`{prefix: /, cookies: [{name: user, stringMatch: {exact: jason}, invertMatch: true}]}`, get("/", "cookie: user=jason"), `cookie user: is "jason", wanted not exact "jason"`},
		{`{prefix: /, headers: [{name: x-request-id, stringMatch: {prefix: a}}]}`, get("/"), "the route depends on x-request-id, which Envoy makes up, which is not known here"},
		{`{prefix: /, headers: [{name: x-forwarded-proto, stringMatch: {exact: https}}]}`, get("/"), `header x-forwarded-proto: is "http", wanted exact "https"`},
	}
	for _, c := range cases {
		got := Route(one(t, "{match: "+c.match+"}"), c.r, Options{})
		if len(got.Tried) != 1 || got.Tried[0].Why != c.want {
			t.Errorf("%s: %+v, want %q", c.match, got.Tried, c.want)
		}
		if got := Route(one(t, "{match: "+c.match+"}"), c.r, Options{WithoutTried: true}); got.Tried != nil {
			t.Errorf("%s: tried although it is not wanted", c.match)
		}
	}
}

func TestFirstRouteWins(t *testing.T) {
	rc := one(t, `{name: a, match: {path: /a}}, {name: b, match: {prefix: /a}}, {name: c, match: {prefix: /}}`)
	var got []string
	for _, p := range []string{"/a", "/ab", "/b"} {
		o := Route(rc, get(p), Options{})
		got = append(got, fmt.Sprint(o.Cluster, len(o.Tried)))
	}
	if diff := cmp.Diff([]string{"a0", "b1", "c2"}, got); diff != "" {
		t.Error(diff)
	}
}
