package match

import (
	"fmt"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
)

// cookie returns the value of a cookie as Envoy reads it: the first of that
// name in all Cookie headers, without quotes around it. Only spaces before the
// name are left out.
func (r *Request) cookie(name string) (value string, ok bool) {
	for _, list := range r.header("cookie") {
		for pair := range strings.SplitSeq(list, ";") {
			k, v, isPair := strings.Cut(strings.TrimLeft(pair, " "), "=")
			if !isPair || k != name {
				continue
			}
			if len(v) > 1 && v[0] == '"' && v[len(v)-1] == '"' {
				v = v[1 : len(v)-1]
			}
			return v, true
		}
	}
	return "", false
}

// matchCookie reports whether a request satisfies a cookie matcher. An inverted
// one is content if there is no such cookie.
func matchCookie(m *routev3.CookieMatcher, r *Request) bool {
	v, ok := r.cookie(m.GetName())
	return (ok && matchString(m.GetStringMatch(), v)) != m.GetInvertMatch()
}

func matchCookies(m *routev3.RouteMatch, r *Request) bool {
	for _, c := range m.Cookies {
		if !matchCookie(c, r) {
			return false
		}
	}
	return true
}

// explainCookie says what a request has where a route wants something else.
func explainCookie(m *routev3.CookieMatcher, r *Request) string {
	var values []string
	if v, ok := r.cookie(m.GetName()); ok {
		values = []string{v}
	}
	want := describeString(m.GetStringMatch())
	if m.GetInvertMatch() {
		want = "not " + want
	}
	return fmt.Sprintf("cookie %s: %s, wanted %s", m.GetName(), describeValues(values), want)
}

func cookieCondition(m *routev3.CookieMatcher) Condition {
	c := Condition{Part: PartCookie, Name: m.GetName()}
	for _, v := range append([]Value{{Absent: true}}, texts(append(tries(m.GetStringMatch()), "zz-none"))...) {
		if v.Absent || sendable(PartCookie, v.Text) {
			r := Request{}
			r.setCookie(m.GetName(), v)
			c.add(v, matchCookie(m, &r))
		}
	}
	return c
}

// setCookie makes one header of all cookies, with one of them changed.
func (r *Request) setCookie(name string, v Value) {
	var kept []string
	for _, list := range r.header("cookie") {
		for pair := range strings.SplitSeq(list, ";") {
			pair = strings.TrimLeft(pair, " ")
			if k, _, _ := strings.Cut(pair, "="); k != name {
				kept = append(kept, pair)
			}
		}
	}
	if !v.Absent {
		kept = append(kept, name+"="+v.Text)
	}
	r.setHeader("cookie", Value{Text: strings.Join(kept, "; "), Absent: len(kept) == 0})
}
