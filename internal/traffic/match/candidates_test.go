package match

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"github.com/google/go-cmp/cmp"
)

const bookshop = `
virtualHosts:
- name: reviews
  domains: [reviews.shop, "reviews.shop:80", 10.0.0.1]
  routes:
  - {name: exact, match: {path: /exact}}
  - {name: jason, match: {prefix: /wp, headers: [{name: end-user, stringMatch: {exact: jason}}, {name: ":method", stringMatch: {exact: POST}}]}}
  - {name: regex, match: {safeRegex: {regex: "/v[0-9]{2,}/(users|groups)/[^/]+"}}}
  - {name: query, match: {pathSeparatedPrefix: /q, queryParameters: [{name: v, stringMatch: {safeRegex: {regex: "a|bc+"}}}]}}
  - {name: absent, match: {prefix: /h, headers: [{name: x-a, presentMatch: true, invertMatch: true}, {name: x-b, stringMatch: {prefix: nope}, invertMatch: true, treatMissingHeaderAsEmpty: true}]}}
  - {name: claim, match: {prefix: /c, dynamicMetadata: [{filter: envoy.filters.http.jwt_authn, path: [{key: payload}, {key: group}, {key: id}], value: {orMatch: {valueMatchers: [{listMatch: {oneOf: {stringMatch: {exact: dev}}}}, {stringMatch: {exact: dev}}]}}}]}}
  - {name: grpc, match: {prefix: /pkg.Service/, grpc: {}}}
  - {name: share, match: {prefix: /s, runtimeFraction: {defaultValue: {numerator: 5}}}}
  - {name: host, match: {prefix: /d, headers: [{name: ":authority", stringMatch: {suffix: ":80"}}]}}
  - {name: rest, match: {prefix: /}}
- {name: wild, domains: ["*.example.com"], requireTls: ALL, routes: [{name: wild, match: {prefix: /}}]}
- {name: pre, domains: ["api.*"], routes: [{name: pre, match: {prefix: /}}]}
`

// TestCandidatesReachEveryRoute: every route is taken by a candidate, and every
// condition is once the reason for which it is not.
func TestCandidatesReachEveryRoute(t *testing.T) {
	rc := hosts(t, bookshop)
	router := NewRouter(rc)
	requests, _ := Candidates(CandidateOptions{}, rc)
	taken, missed := map[string]bool{}, map[string]bool{}
	for _, r := range requests {
		o := router.Route(r, Options{})
		if o.Kind == BadRequest {
			t.Errorf("%+v cannot be sent: %s", r, o.Why)
		}
		if o.Route != nil {
			taken[o.Route.Name] = true
		}
		for _, tried := range o.Tried {
			missed[tried.Route.Name+" "+tried.Why] = true
		}
	}
	for _, vh := range rc.VirtualHosts {
		for _, r := range vh.Routes {
			if !taken[r.Name] {
				t.Errorf("no candidate takes route %s", r.Name)
			}
		}
	}
	for _, want := range []string{
		"exact path /exact/ is not", "jason header end-user: absent", `jason header end-user: is "jasonx"`, `jason method: is "GET"`,
		"jason path /w is not", "query query parameter v: absent", `query query parameter v: is "ax"`, `absent header x-a: is`, `absent header x-b: is "nope"`,
		"claim claim group.id", "grpc the request is not gRPC", "share only 5 %", "host host: is",
	} {
		if !slices.ContainsFunc(keysOf(missed), func(s string) bool { return strings.HasPrefix(s, want) }) {
			t.Errorf("no candidate misses: %s", want)
		}
	}
}

func keysOf(m map[string]bool) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// TestCandidatesTellMistakes: each change of one thing in a configuration
// changes the outcome of a candidate of the two.
func TestCandidatesTellMistakes(t *testing.T) {
	changes := [][2]string{
		{"path: /exact", "path: /exact2"},
		{"path: /exact", "prefix: /exact"},
		{"prefix: /wp", "path: /wp"},
		{"prefix: /wp", "prefix: /wpx"},
		{"prefix: /wp", "pathSeparatedPrefix: /wp"},
		{"exact: jason", "exact: Jason"},
		{"exact: jason", "prefix: jason"},
		{"exact: jason", "suffix: jason"},
		{"exact: POST", "exact: PUT"},
		{"{2,}", "{3,}"},
		{"users|groups", "users"},
		{"pathSeparatedPrefix: /q", "prefix: /q"},
		{"a|bc+", "a"},
		{"presentMatch: true, invertMatch: true", "presentMatch: true"},
		{"invertMatch: true, treatMissing", "treatMissing"},
		{"treatMissingHeaderAsEmpty: true", "treatMissingHeaderAsEmpty: false"},
		{"exact: dev", "exact: ops"},
		{", grpc: {}", ""},
		{"numerator: 5", "numerator: 6"},
		{`suffix: ":80"`, `suffix: ":81"`},
		{"10.0.0.1", "10.0.0.2"},
		{`"*.example.com"`, `"*.example.org"`},
		{`"*.example.com"`, `"www.example.com"`},
		{"requireTls: ALL", "requireTls: NONE"},
		{`"api.*"`, `"apis.*"`},
		{"{name: rest, match: {prefix: /}}", "{name: rest, match: {prefix: /r}}"},
		{"- {name: exact, match: {path: /exact}}", "- {name: first, match: {prefix: /}}\n  - {name: exact, match: {path: /exact}}"},
	}
	before := hosts(t, bookshop)
	for _, c := range changes {
		text := strings.Replace(bookshop, c[0], c[1], 1)
		if text == bookshop {
			t.Fatalf("%s is not there", c[0])
		}
		after := hosts(t, text)
		a, b := NewRouter(before), NewRouter(after)
		differs := slices.ContainsFunc(candidates(before, after), func(r Request) bool {
			return say(a.Route(r, Options{WithoutTried: true})) != say(b.Route(r, Options{WithoutTried: true}))
		})
		if !differs {
			t.Errorf("%s -> %s: no candidate tells", c[0], c[1])
		}
	}
}

func TestCandidatesAreBoundedAndStable(t *testing.T) {
	rc := hosts(t, bookshop)
	all := candidates(rc)
	if diff := cmp.Diff(all, candidates(rc)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(all, candidates(rc, hosts(t, bookshop))); diff != "" {
		t.Errorf("twice the same configuration adds: %s", diff)
	}
	seen := map[string]bool{}
	for _, r := range all {
		if k := (&Call{Request: r}).key(); seen[k] {
			t.Errorf("twice: %s", k)
		} else {
			seen[k] = true
		}
	}
	some, complete := Candidates(CandidateOptions{Max: 7}, rc)
	if got := len(some); got != 7 || complete {
		t.Errorf("%d candidates, not 7", got)
	}
}

func TestCandidatesOfBrowsers(t *testing.T) {
	rc := one(t, `{name: c, match: {prefix: /f}, typedPerFilterConfig: {envoy.filters.http.cors: {"@type": type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy, allowOriginStringMatch: [{exact: "http://o"}]}}}`)
	var got []string
	for _, r := range candidates(rc) {
		o := Route(rc, r, Options{})
		got = append(got, fmt.Sprintf("%s %s", r.first("origin"), o.Kind))
	}
	for _, want := range []string{"http://o preflight", "http://o forward", "https://zz-none.example forward"} {
		if !slices.Contains(got, want) {
			t.Errorf("no %s among %v", want, got)
		}
	}
}

func TestMembers(t *testing.T) {
	for _, expr := range []string{
		"", "a", "a*", "a+b?", "[0-9]{2,4}", "(?i)x", "a|b|c", `\d+\.\d+`, ".*/ns/ops/.*", "spiffe://.+/ns/a/(.+/|)sa/b(/.+)?",
		"[^/]+", `\bx\b`, "^/a$", "(a|b)(c|d)(e|f)", "[^a-z]", `\p{Greek}`, "x{100}", "(?s).+",
	} {
		members := Members(expr)
		if len(members) == 0 || len(members) > maxMembers {
			t.Errorf("%s: %d members", expr, len(members))
		}
		for _, m := range members {
			if !regexp.MustCompile(`\A(?:` + expr + `)\z`).MatchString(m) {
				t.Errorf("%s does not match %q", expr, m)
			}
		}
	}
	for _, expr := range []string{"(", "a)(b", "x{1000}", strings.Repeat("(", 40_000), `a\bb`, "((((((x{10}){10}){10}){10}){10}){10})"} {
		if got := Members(expr); got != nil {
			t.Errorf("%.20s: %q", expr, got)
		}
	}
}

func TestPolicyCandidates(t *testing.T) {
	build := func(action, policies string) *Stack {
		return httpStack(t, "", `{name: envoy.filters.http.jwt_authn, typedConfig: {"@type": `+anyURL+`filters.http.jwt_authn.v3.JwtAuthentication,
  providers: {o: {issuer: iss, payloadInMetadata: payload, audiences: [api]}},
  rules: [{match: {prefix: /}, requires: {requiresAny: {requirements: [{providerName: o}, {allowMissing: {}}]}}}]}}`, httpRBAC(action, policies))
	}
	claim := "{metadata: {filter: envoy.filters.http.jwt_authn, path: [{key: payload}, {key: role}], value: {stringMatch: {exact: admin}}}}"
	text := "a: " + policy("{andRules: {rules: ["+path("prefix", "/api")+", {header: {name: ':method', stringMatch: {exact: PUT}}}, {destinationPort: 8080}]}}", fmt.Sprintf(identity, web)) +
		", b: " + policy("{notRule: "+path("suffix", "/b")+"}", "{andIds: {ids: [{authenticated: {principalName: {safeRegex: {regex: '.*/ns/ops/.*'}}}}, {notId: {directRemoteIp: {addressPrefix: 10.1.0.0, prefixLen: 16}}}]}}") +
		", c: " + policy("{header: {name: ':authority', stringMatch: {prefix: c.}}}", claim) +
		", d: " + policy("{requestedServerName: {exact: d.example}}", "{remoteIp: {addressPrefix: 203.0.113.0, prefixLen: 24}}")
	changes := [][2]string{
		{"prefix: /api", "prefix: /apis"},
		{"prefix: /api", "exact: /api"},
		{"exact: PUT", "exact: POST"},
		{"destinationPort: 8080", "destinationPort: 8081"},
		{"sa/web", "sa/webx"},
		{"suffix: /b", "suffix: /c"},
		{"notRule: ", "orRules: {rules: ["},
		{"/ns/ops/", "/ns/dev/"},
		{"prefixLen: 16", "prefixLen: 8"},
		{"prefix: c.", "prefix: cc."},
		{"exact: admin", "exact: user"},
		{"exact: d.example", "exact: e.example"},
		{"203.0.113.0", "203.0.114.0"},
		{"notId: ", "orIds: {ids: ["},
	}
	base := CandidateOptions{Base: Call{Peer: as(web)}}
	for _, action := range []string{"ALLOW", "DENY"} {
		before := build(action, text)
		calls, _ := PolicyCandidates(base, before)
		for _, name := range []string{"a", "b", "c", "d"} {
			if !slices.ContainsFunc(calls, func(c Call) bool { return Authorize(before, c.Request, c.Peer).Policy == name }) {
				t.Errorf("%s: no call is decided by policy %s", action, name)
			}
		}
		twice, _ := PolicyCandidates(base, before, build(action, text))
		if diff := cmp.Diff(len(calls), len(twice)); diff != "" {
			t.Errorf("twice the same adds: %s", diff)
		}
		for _, c := range changes {
			changed := strings.Replace(text, c[0], c[1], 1)
			if strings.HasSuffix(c[1], "[") {
				changed = strings.Replace(changed, c[1]+path("suffix", "/b"), c[1]+path("suffix", "/b")+"]}", 1)
				changed = strings.Replace(changed, "prefixLen: 16}}", "prefixLen: 16}}]}", 1)
				if strings.HasPrefix(c[1], "orRules") {
					changed = strings.Replace(changed, "prefixLen: 16}}]}", "prefixLen: 16}}", 1)
				}
			}
			after := build(action, changed)
			calls, _ := PolicyCandidates(base, before, after)
			if !slices.ContainsFunc(calls, func(x Call) bool {
				return sayVerdict(Authorize(before, x.Request, x.Peer)) != sayVerdict(Authorize(after, x.Request, x.Peer))
			}) {
				t.Errorf("%s: %s -> %s: no call tells", action, c[0], c[1])
			}
		}
	}
}

func TestShadowed(t *testing.T) {
	cases := []struct {
		first, second string
		want          bool
	}{
		{`{prefix: /}`, `{path: /a}`, true},
		{`{prefix: /}`, `{safeRegex: {regex: "/a.*"}}`, true},
		{`{prefix: /a}`, `{prefix: /ab}`, true},
		{`{prefix: /a}`, `{pathSeparatedPrefix: /a}`, true},
		{`{prefix: /a}`, `{prefix: /}`, false},
		{`{prefix: /a}`, `{prefix: /Ab}`, false},
		{`{prefix: /A, caseSensitive: false}`, `{prefix: /ab}`, true},
		{`{prefix: /a}`, `{prefix: /ab, caseSensitive: false}`, false},
		{`{pathSeparatedPrefix: /a}`, `{path: /a}`, true},
		{`{pathSeparatedPrefix: /a}`, `{prefix: /a/}`, true},
		{`{pathSeparatedPrefix: /a}`, `{prefix: /a}`, false},
		{`{pathSeparatedPrefix: /a}`, `{pathSeparatedPrefix: /a/b}`, true},
		{`{path: /a}`, `{path: /a}`, true},
		{`{path: /a}`, `{prefix: /a}`, false},
		{`{safeRegex: {regex: ".*"}}`, `{prefix: /a}`, true},
		{`{safeRegex: {regex: "/a+"}}`, `{path: /aa}`, true},
		{`{safeRegex: {regex: "/a+"}}`, `{path: /aa, caseSensitive: false}`, false},
		{`{safeRegex: {regex: "/a+"}}`, `{safeRegex: {regex: "/a+"}}`, true},
		{`{safeRegex: {regex: "("}}`, `{path: /a}`, false},
		{`{prefix: /}`, `{connectMatcher: {}}`, false},
		{`{prefix: /, headers: [{name: a, stringMatch: {exact: x}}]}`, `{prefix: /}`, false},
		{`{prefix: /, headers: [{name: a, stringMatch: {exact: x}}]}`, `{prefix: /, headers: [{name: A, stringMatch: {exact: x}}]}`, true},
		{`{prefix: /, headers: [{name: a, presentMatch: true}]}`, `{prefix: /, headers: [{name: a, stringMatch: {prefix: x}}]}`, true},
		{`{prefix: /, headers: [{name: a, presentMatch: true}]}`, `{prefix: /, headers: [{name: a, stringMatch: {prefix: x}, invertMatch: true, treatMissingHeaderAsEmpty: true}]}`, false},
		{`{prefix: /, headers: [{name: a, stringMatch: {prefix: x}}]}`, `{prefix: /, headers: [{name: a, stringMatch: {exact: xy}}, {name: b}]}`, true},
		{`{prefix: /, headers: [{name: a, stringMatch: {exact: x}, invertMatch: true}]}`, `{prefix: /, headers: [{name: a, stringMatch: {exact: z}}]}`, false},
		{`{prefix: /, queryParameters: [{name: a, presentMatch: true}]}`, `{prefix: /, queryParameters: [{name: a, stringMatch: {exact: x}}]}`, true},
		{`{prefix: /, queryParameters: [{name: a, stringMatch: {prefix: x}}]}`, `{prefix: /, queryParameters: [{name: a, stringMatch: {exact: xy}}]}`, true},
		{`{prefix: /, queryParameters: [{name: a, stringMatch: {exact: x}}]}`, `{prefix: /, queryParameters: [{name: a, presentMatch: true}]}`, false},
		{`{prefix: /, grpc: {}}`, `{prefix: /}`, false},
		{`{prefix: /, runtimeFraction: {defaultValue: {numerator: 99}}}`, `{prefix: /}`, false},
		{`{prefix: /, filterState: [{key: a, stringMatch: {exact: b}}]}`, `{prefix: /}`, false},
	}
	for _, c := range cases {
		got := Shadowed(one(t, "{name: a, match: "+c.first+"}, {name: b, match: "+c.second+"}"))
		if (len(got) == 1) != c.want {
			t.Errorf("%s before %s: %v", c.first, c.second, got)
		}
		if len(got) == 1 && (got[0].Route.Name != "b" || got[0].By.Name != "a") {
			t.Errorf("%s before %s: %s by %s", c.first, c.second, got[0].Route.Name, got[0].By.Name)
		}
	}
	if got := Shadowed(hosts(t, bookshop)); len(got) > 0 {
		t.Errorf("%v", got)
	}
}

// TestShadowedIsSound: no candidate takes a route that is said to be shadowed.
func TestShadowedIsSound(t *testing.T) {
	rc := hosts(t, bookshop)
	routes := rc.VirtualHosts[0].Routes
	for i := range routes {
		for k := range routes {
			order := []*routev3.Route{routes[i], routes[k]}
			pair := &routev3.RouteConfiguration{VirtualHosts: []*routev3.VirtualHost{{Domains: []string{"*"}, Routes: order}}}
			for range Shadowed(pair) {
				for _, r := range candidates(pair, rc) {
					r.Host = "h"
					if o := Route(pair, r, Options{}); i != k && o.Route == routes[k] {
						t.Errorf("%+v takes %s after %s", r, routes[k].Name, routes[i].Name)
					}
				}
			}
		}
	}
}

// candidates are all that there are.
func candidates(configurations ...*routev3.RouteConfiguration) []Request {
	requests, _ := Candidates(CandidateOptions{}, configurations...)
	return requests
}

// Who asks for fewer than there are is told so.
func TestCandidatesTellWhatIsCut(t *testing.T) {
	rc := one(t, `{name: a, match: {path: /a}}, {name: b, match: {path: /b, headers: [{name: x, stringMatch: {exact: "1"}}]}}`)
	all, complete := Candidates(CandidateOptions{}, rc)
	if !complete {
		t.Error("all of them are said to be cut")
	}
	for most := range len(all) {
		if got, complete := Candidates(CandidateOptions{Max: most + 1}, rc); len(got) == len(all) {
			break
		} else if complete {
			t.Errorf("%d of %d are said to be all", len(got), len(all))
		}
	}
	stack := httpStack(t, "", httpRBAC("ALLOW", "a: "+policy(path("prefix", "/a"), fmt.Sprintf(identity, web))+", b: "+policy(path("exact", "/b"), fmt.Sprintf(identity, "x"))))
	calls, complete := PolicyCandidates(CandidateOptions{}, stack)
	if !complete {
		t.Error("all calls are said to be cut")
	}
	for most := range len(calls) - 1 {
		if got, complete := PolicyCandidates(CandidateOptions{Max: most + 1}, stack); complete {
			t.Errorf("%d of %d calls are said to be all", len(got), len(calls))
		}
	}
}
