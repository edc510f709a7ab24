package match

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRewrites(t *testing.T) {
	cases := []struct {
		route string
		r     Request
		want  string
	}{
		{`{match: {prefix: /a}, route: {cluster: c, prefixRewrite: /b}}`, get("/a/x?q=/a"), "c h/b/x?q=/a"},
		{`{match: {prefix: /a/}, route: {cluster: c, prefixRewrite: /}}`, get("/a/x"), "c h/x"},
		{`{match: {path: /a}, route: {cluster: c, prefixRewrite: /b}}`, get("/a?q"), "c h/b?q"},
		{`{match: {prefix: /A, caseSensitive: false}, route: {cluster: c, prefixRewrite: /b}}`, get("/aX"), "c h/bX"},
		{`{match: {pathSeparatedPrefix: /a}, route: {cluster: c, prefixRewrite: /b}}`, get("/a/x"), "c h/b/x"},
		{`{match: {safeRegex: {regex: "/a.*"}}, route: {cluster: c, prefixRewrite: /b}}`, get("/axx?q"), "c h/b?q"},
		{`{match: {prefix: /}, route: {cluster: c, regexRewrite: {pattern: {regex: "^/a/(.*)$"}, substitution: '/\1/$1'}}}`, get("/a/x?/a/y"), "c h/x/$1?/a/y"},
		{`{match: {prefix: /}, route: {cluster: c, regexRewrite: {pattern: {regex: "(x)(y)?"}, substitution: '<\2\1\0>'}}}`, get("/xyx"), "c h/<yxxy><xx>"},
		{`{match: {prefix: /}, route: {cluster: c, regexRewrite: {pattern: {regex: "x"}, substitution: '\\'}}}`, get("/xx"), `c h/\\`},
		{`{match: {prefix: /}, route: {cluster: c, regexRewrite: {pattern: {regex: "/(x)"}, substitution: '/\2'}}}`, get("/x"), "c h/x"},
		{`{match: {prefix: /}, route: {cluster: c, regexRewrite: {pattern: {regex: "("}, substitution: 'y'}}}`, get("/x"), "c h/x"},
		{`{match: {prefix: /}, route: {cluster: c, hostRewriteLiteral: o.example}}`, get("/"), "c o.example/"},
		{`{match: {prefix: /}, route: {cluster: c, hostRewriteHeader: x-host}}`, get("/", "x-host: o"), "c o/"},
		{`{match: {prefix: /}, route: {cluster: c, hostRewriteHeader: x-host}}`, get("/"), "c h/"},
		{`{match: {prefix: /}, route: {cluster: c, hostRewritePathRegex: {pattern: {regex: "^/([^/]+).*$"}, substitution: '\1.example'}}}`, get("/a/b?c"), "c a.example/a/b?c"},
		{`{match: {prefix: /}, route: {clusterHeader: x-cluster}}`, get("/", "x-cluster: z"), "z h/"},
	}
	for _, c := range cases {
		if got := Route(one(t, c.route), c.r, Options{}); say(got) != c.want {
			t.Errorf("%s: %s, want %s", c.route, say(got), c.want)
		}
	}
	if got := Route(one(t, `{match: {prefix: /}, route: {cluster: c, autoHostRewrite: true}}`), get("/"), Options{}); !got.AutoHost {
		t.Error("automatic host is lost")
	}
}

func TestMissing(t *testing.T) {
	cases := map[string]int{
		`{match: {prefix: /}, route: {cluster: c}}`:                                                     503,
		`{match: {prefix: /}, route: {cluster: c, clusterNotFoundResponseCode: NOT_FOUND}}`:             404,
		`{match: {prefix: /}, route: {cluster: c, clusterNotFoundResponseCode: INTERNAL_SERVER_ERROR}}`: 500,
		`{match: {prefix: /}, redirect: {pathRedirect: /}}`:                                             0,
		`{match: {prefix: /}, directResponse: {status: 418}}`:                                           0,
	}
	for route, want := range cases {
		if got := Route(one(t, route), get("/"), Options{}); got.MissingStatus != want {
			t.Errorf("%s: %d, want %d", route, got.MissingStatus, want)
		}
	}
}

func TestRedirects(t *testing.T) {
	cases := []struct {
		redirect string
		r        Request
		want     string
	}{
		{`{schemeRedirect: https}`, get("/x?q"), "301 https://h/x?q"},
		{`{httpsRedirect: true}`, get("/x", "host: h:80"), "301 https://h/x"},
		{`{httpsRedirect: true}`, get("/x", "host: h:443"), "301 https://h:443/x"},
		{`{httpsRedirect: true}`, get("/x", "host: h:8080"), "301 https://h:8080/x"},
		{`{httpsRedirect: true}`, get("/x", "host: [::1]:80"), "301 https://[::1]/x"},
		{`{httpsRedirect: true}`, get("/x", "host: [::1]"), "301 https://[::1]/x"},
		{`{schemeRedirect: http}`, get("/x", "host: h:443", "scheme: https"), "301 http://h/x"},
		{`{portRedirect: 81}`, get("/x", "host: h:x"), "301 http://h:81/x"},
		{`{hostRedirect: o, responseCode: SEE_OTHER}`, get("/x", "host: h:80"), "303 http://o/x"},
		{`{pathRedirect: z, responseCode: FOUND}`, get("/x?q", "host: h:80"), "302 http://h:80/z?q"},
		{`{pathRedirect: "/z?own", stripQuery: true}`, get("/x?q"), "301 http://h/z?own"},
		{`{pathRedirect: ""}`, get("/x?q"), "301 http://h/x?q"},
		{`{prefixRewrite: "", stripQuery: true}`, get("/x?q"), "301 http://h/x"},
		{`{prefixRewrite: /y}`, get("/xz?q"), "301 http://h/yz?q"},
		{`{regexRewrite: {pattern: {regex: "^/x(.*)"}, substitution: '\1'}, responseCode: PERMANENT_REDIRECT}`, get("/xz?y"), "308 http://h/z?y"},
		{`{stripQuery: true, responseCode: TEMPORARY_REDIRECT}`, get("/x?q"), "307 http://h/x"},
	}
	for _, c := range cases {
		rc := one(t, "{match: {prefix: /x}, redirect: "+c.redirect+"}")
		if got := Route(rc, c.r, Options{}); say(got) != c.want {
			t.Errorf("%s: %s, want %s", c.redirect, say(got), c.want)
		}
	}
	tls := one(t, "{name: c, match: {prefix: /}}")
	tls.VirtualHosts[0].RequireTls = 2
	if got := Route(tls, get("/x?q", "host: h:80"), Options{}); say(got) != "301 https://h:80/x?q" || got.Route != nil {
		t.Errorf("required TLS: %s", say(got))
	}
	if got := Route(tls, get("/", "scheme: https"), Options{}); got.Kind != Forward {
		t.Errorf("required TLS over TLS: %s", say(got))
	}
}

func TestLocalAnswers(t *testing.T) {
	fault := func(abort string) string {
		return `{match: {prefix: /}, redirect: {pathRedirect: /x}, typedPerFilterConfig: {envoy.filters.http.fault: {"@type": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault, ` + abort + `}}}`
	}
	grpc := "content-type: application/grpc"
	cases := []struct {
		route  string
		r      Request
		want   string
		status int
	}{
		{`{match: {prefix: /}, directResponse: {status: 503}}`, get("/"), "direct 503", 0},
		{`{match: {prefix: /}, directResponse: {status: 503}}`, get("/", grpc), "direct 503", 14},
		{`{match: {prefix: /}, directResponse: {status: 200}}`, get("/", grpc), "direct 200", 2},
		{`{match: {path: /a}, directResponse: {status: 200}}`, get("/", grpc), "no-route 404", 12},
		{fault("abort: {httpStatus: 555, percentage: {numerator: 100}}"), get("/"), "fault 555", 0},
		{fault("abort: {httpStatus: 403, percentage: {numerator: 1000000, denominator: MILLION}}"), get("/", grpc), "fault 403", 7},
		{fault("abort: {grpcStatus: 9, percentage: {numerator: 100}}"), get("/", grpc), "fault 200", 9},
		{fault("abort: {grpcStatus: 9, percentage: {numerator: 100}}"), get("/"), "fault 200", 0},
		{fault("abort: {httpStatus: 555, percentage: {numerator: 99}}"), get("/"), "301 http://h/x", 0},
	}
	for _, c := range cases {
		if got := Route(one(t, c.route), c.r, Options{}); say(got) != c.want || got.GRPCStatus != c.status {
			t.Errorf("%s: %s grpc %d, want %s %d", c.route, say(got), got.GRPCStatus, c.want, c.status)
		}
	}
	created := Route(one(t, `{match: {prefix: /}, directResponse: {status: 201, body: {inlineString: ok}}}`), get("/x"), Options{})
	if created.Location != "http://h/x" || created.Body != "ok" {
		t.Errorf("created: %s %s", created.Location, created.Body)
	}
}

func TestDestinations(t *testing.T) {
	rc := one(t, `{match: {prefix: /}, route: {weightedClusters: {clusters: [
  {name: a, weight: 1, requestHeadersToRemove: [x-a]}, {name: b, weight: 0}, {name: c, weight: 3, hostRewriteLiteral: only-c}]}}}`)
	want := []Destination{
		{Cluster: "a", Weight: 1, Percent: 25, RequestHeaders: []Mutation{{Action: Remove, Name: "x-a"}}},
		{Cluster: "b"},
		{Cluster: "c", Weight: 3, Percent: 75, Host: "only-c"},
	}
	var got []string
	for bucket := range uint64(5) {
		r := get("/")
		r.Bucket = bucket
		o := Route(rc, r, Options{})
		got = append(got, o.Cluster+" "+o.Host)
		if diff := cmp.Diff(want, o.Destinations); diff != "" {
			t.Fatal(diff)
		}
	}
	if diff := cmp.Diff([]string{"a h", "c only-c", "c only-c", "c only-c", "a h"}, got); diff != "" {
		t.Error(diff)
	}
	byHeader := one(t, `{match: {prefix: /}, route: {weightedClusters: {headerName: x-n, clusters: [{name: a, weight: 1}, {name: c, weight: 3}]}}}`)
	for header, want := range map[string]string{"x-n: 0": "a", "x-n: 5": "c", "x-n: x": "a", "y: 5": "a"} {
		if got := Route(byHeader, get("/", header), Options{}); got.Cluster != want {
			t.Errorf("%s: %s, want %s", header, got.Cluster, want)
		}
	}
}

func TestTreatment(t *testing.T) {
	rc := hosts(t, `
requestHeadersToAdd: [{header: {key: x, value: config}, appendAction: OVERWRITE_IF_EXISTS_OR_ADD}]
virtualHosts:
- name: v
  domains: ["*"]
  retryPolicy: {retryOn: 5xx, numRetries: 7}
  requestMirrorPolicies: [{cluster: vm}]
  requestHeadersToRemove: ["y"]
  responseHeadersToAdd: [{header: {key: r, value: host}}, {header: {key: empty, value: ""}}]
  routes:
  - name: full
    match: {path: /full}
    requestHeadersToAdd: [{header: {key: x, value: route}, appendAction: ADD_IF_ABSENT}]
    route:
      cluster: c
      timeout: 0s
      idleTimeout: 3s
      maxStreamDuration: {maxStreamDuration: 9s}
      retryPolicy: {retryOn: "connect-failure,503", numRetries: 2, perTryTimeout: 2s, retriableStatusCodes: [503]}
      requestMirrorPolicies: [{cluster: m, runtimeFraction: {defaultValue: {numerator: 125, denominator: TEN_THOUSAND}}}, {cluster: never, runtimeFraction: {}}]
      hashPolicy: [{header: {headerName: x-user}, terminal: true}, {cookie: {name: s, ttl: 60s}}, {connectionProperties: {sourceIp: true}}, {queryParameter: {name: q}}]
    typedPerFilterConfig:
      envoy.filters.http.fault: {"@type": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault, delay: {fixedDelay: 5s, percentage: {numerator: 50}}, abort: {httpStatus: 503, percentage: {numerator: 10}}}
  - {name: bare, match: {path: /bare}}
  - {name: none, match: {path: /none}, route: {cluster: c, retryPolicy: {}}}
`)
	x := []Mutation{{AddIfAbsent, "x", "route"}, {Remove, "y", ""}, {Overwrite, "x", "config"}}
	r := []Mutation{{Append, "r", "host"}}
	cases := map[string]Treatment{
		"/full": {
			IdleTimeout: 3 * time.Second, MaxStreamDuration: 9 * time.Second,
			Retries:        &Retries{On: "connect-failure,503", Attempts: 2, PerTry: 2 * time.Second, StatusCodes: []uint32{503}},
			Fault:          &FaultPolicy{AbortPercent: 10, AbortStatus: 503, DelayPercent: 50, Delay: 5 * time.Second},
			Mirrors:        []Mirror{{"m", 1.25}},
			RequestHeaders: x, ResponseHeaders: r,
			Hash: []string{"header x-user, and nothing after it", "cookie s for 1m0s", "source IP", "query parameter q"},
		},
		"/bare": {
			Timeout: 15 * time.Second, Retries: &Retries{On: "5xx", Attempts: 7}, Mirrors: []Mirror{{"vm", 100}},
			RequestHeaders: x[1:], ResponseHeaders: r,
		},
		"/none": {Timeout: 15 * time.Second, Mirrors: []Mirror{{"vm", 100}}, RequestHeaders: x[1:], ResponseHeaders: r},
	}
	for path, want := range cases {
		if diff := cmp.Diff(want, Route(rc, get(path), Options{}).Treatment); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
	}
	rc.MostSpecificHeaderMutationsWins = true
	want := []Mutation{{Overwrite, "x", "config"}, {Remove, "y", ""}, {AddIfAbsent, "x", "route"}}
	if diff := cmp.Diff(want, Route(rc, get("/full"), Options{}).RequestHeaders); diff != "" {
		t.Error(diff)
	}
}

func TestCORS(t *testing.T) {
	rc := one(t, `{name: f, match: {prefix: /f}, typedPerFilterConfig: {envoy.filters.http.cors: {"@type": type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy, allowOriginStringMatch: [{exact: "http://o"}], allowMethods: GET, allowCredentials: true}}},
  {name: i, match: {prefix: /i}, typedPerFilterConfig: {envoy.filters.http.cors: {"@type": type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy, allowOriginStringMatch: [{prefix: "http://o"}], forwardNotMatchingPreflights: false}}},
  {name: s, match: {prefix: /s}, typedPerFilterConfig: {envoy.filters.http.cors: {"@type": type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy, allowOriginStringMatch: [{exact: "*"}]}}},
  {name: d, match: {prefix: /d}, directResponse: {status: 204}, typedPerFilterConfig: {envoy.filters.http.cors: {"@type": type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy, allowOriginStringMatch: [{exact: "http://o"}]}}}`)
	ask := "access-control-request-method: PUT"
	cases := []struct {
		r    Request
		want string
	}{
		{get("OPTIONS /f", "origin: http://o", ask), "preflight 200"},
		{get("OPTIONS /f", "origin: http://x", ask), "f h/f"},
		{get("OPTIONS /f", "origin: http://o"), "f h/f"},
		{get("GET /f", "origin: http://o", ask), "f h/f"},
		{get("OPTIONS /i", "origin: http://x", ask), "preflight 200"},
		{get("OPTIONS /s", "origin: http://any", ask), "preflight 200"},
		{get("OPTIONS /d", "origin: http://o", ask), "direct 204"},
	}
	for _, c := range cases {
		if got := Route(rc, c.r, Options{}); say(got) != c.want {
			t.Errorf("%s %s %v: %s, want %s", c.r.Method, c.r.Path, c.r.Headers, say(got), c.want)
		}
	}
	want := &CORS{Origins: []string{`exact "http://o"`}, OriginAllowed: true, AllowMethods: "GET", AllowCredentials: true, ForwardUnmatched: true}
	if diff := cmp.Diff(want, Route(rc, get("/f", "origin: http://o"), Options{}).CORS); diff != "" {
		t.Error(diff)
	}
	if Route(rc, get("/f", "origin: http://x"), Options{}).CORS.OriginAllowed {
		t.Error("one request's origin is another's")
	}
}

func TestMutate(t *testing.T) {
	given := []Header{{"A", "1"}, {"b", "1"}, {"a", "2"}}
	got := Mutate(given, []Mutation{
		{Remove, "a", ""},
		{Append, "b", "2"},
		{AddIfAbsent, "b", "3"},
		{AddIfAbsent, "c", "1"},
		{OverwriteIfExists, "d", "1"},
		{OverwriteIfExists, "c", "2"},
		{Overwrite, "e", "1"},
		{Overwrite, "e", "2"},
	})
	want := []Header{{"b", "1"}, {"b", "2"}, {"c", "2"}, {"e", "2"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if given[0].Name != "A" || len(given) != 3 {
		t.Error("the argument changed")
	}
	if s := (Mutation{Overwrite, "x", "1"}).String(); s != `overwrite x: "1"` {
		t.Error(s)
	}
}
