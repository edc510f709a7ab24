package match

import (
	"fmt"
	"reflect"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// FuzzRoute: nothing that a client sends and nothing that a rule contains makes
// the decision panic, or differ from itself.
func FuzzRoute(f *testing.F) {
	f.Add("/a/..;x//b?q=1", "reviews.shop:80", "end-user", "jason", "/v[0-9]+", `\1`)
	f.Add("/%", "[::1]", ":authority", "", "(", `\`)
	f.Add("*", "", "content-type", "application/grpc", "a|b", "$")
	f.Add("/a%2fb", "h", "Upgrade", "h2c", "x", "y")
	f.Add("/a", "h:1", "x_y", "te", "_", "z")
	f.Fuzz(func(t *testing.T, path, host, name, value, expr, substitution string) {
		rc := hosts(t, bookshop)
		rc.VirtualHosts[0].Routes = append(fuzzRoutes(name, value, expr, substitution), rc.VirtualHosts[0].Routes...)
		rc.VirtualHosts[0].Domains = append(rc.VirtualHosts[0].Domains, value, "*")
		r := Request{Method: "GET", Path: path, Host: host, Headers: []Header{{name, value}, {"connection", "upgrade, " + value}}}
		for i, n := range []Normalization{{}, {DotSegments: true}, {DotSegments: true, MergeSlashes: true, UnescapeSlashes: true, RedirectSlashes: true}} {
			o := Options{Normalization: n, StripPort: true, StripTrailingDot: true, Upgrades: []string{"websocket", value}}
			o.Limits.Underscores = corev3.HttpProtocolOptions_HeadersWithUnderscoresAction(i)
			got, again := Route(rc, r, o), Route(rc, r, o)
			if say(got) != say(again) || !reflect.DeepEqual(got.Tried, again.Tried) {
				t.Errorf("%s and %s", say(got), say(again))
			}
		}
		Shadowed(rc)
		requests, _ := Candidates(CandidateOptions{Max: 200}, rc)
		for i, r := range requests {
			if o := Route(rc, r, Options{WithoutTried: true}); o.Kind == BadRequest && i == 0 {
				t.Logf("%+v: %s", r, o.Why)
			}
		}
	})
}

func fuzzRoutes(name, value, expr, substitution string) []*routev3.Route {
	regex := &matcherv3.RegexMatcher{Regex: expr}
	header := &routev3.HeaderMatcher{Name: name, HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: regex}}}}
	rewrite := &matcherv3.RegexMatchAndSubstitute{Pattern: regex, Substitution: substitution}
	matches := []*routev3.RouteMatch{
		{PathSpecifier: &routev3.RouteMatch_SafeRegex{SafeRegex: regex}, Headers: []*routev3.HeaderMatcher{header}},
		{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: value}, QueryParameters: []*routev3.QueryParameterMatcher{{Name: name}}},
		{PathSpecifier: &routev3.RouteMatch_PathSeparatedPrefix{PathSeparatedPrefix: value}},
	}
	var out []*routev3.Route
	for i, m := range matches {
		out = append(out, &routev3.Route{
			Name: fmt.Sprint("fuzz", i), Match: m,
			Action: &routev3.Route_Route{Route: &routev3.RouteAction{RegexRewrite: rewrite, ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: "c"}}},
		})
	}
	return append(out, &routev3.Route{
		Match:  &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/f"}},
		Action: &routev3.Route_Redirect{Redirect: &routev3.RedirectAction{PathRewriteSpecifier: &routev3.RedirectAction_RegexRewrite{RegexRewrite: rewrite}}},
	})
}

// FuzzMembers: every member matches, whatever the expression.
func FuzzMembers(f *testing.F) {
	for _, s := range []string{"a*", "(a|b){3}", `\x00`, "[^a]", "((x*)*)*", "(?i:K)"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, expr string) {
		for _, m := range Members(expr) {
			if !compiled(expr).matches(m) {
				t.Errorf("%q does not match %q", expr, m)
			}
		}
	})
}

// FuzzTemplate: a template either is a valid expression or matches nothing.
func FuzzTemplate(f *testing.F) {
	for _, s := range []string{"/a/{*}/b", "/{**}", "/{x=a/*}", "{", "/a.*", "/{a=b={c}}"} {
		f.Add(s)
	}
	f.Fuzz(func(_ *testing.T, template string) { compiled(templateRegex(template)).matches("/a/b") })
}
