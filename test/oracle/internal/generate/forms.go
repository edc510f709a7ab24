package generate

import (
	"fmt"
	"math"
	"regexp/syntax"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	corsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// Each of these lists begins with what satisfies the condition.

func (s *Source) hosts(domain string, port uint32) []string {
	switch {
	case domain == "*":
		return []string{"unknown.example.org", "1.2.3.4", "unknown.example.org:81", "[::1]:80"}
	case strings.HasPrefix(domain, "*"):
		rest := domain[1:]
		return []string{"a" + rest, "a.b" + rest, fmt.Sprintf("A%s:%d", strings.ToUpper(rest), port), strings.TrimPrefix(rest, "."), "api.deep" + rest}
	case strings.HasSuffix(domain, "*"):
		rest := domain[:len(domain)-1]
		return []string{rest + "x", rest}
	}
	return []string{domain, fmt.Sprintf("%s:%d", domain, port), domain + ":80", domain + ":1", strings.ToUpper(domain), domain + ".", domain + "x", "x." + domain, domain + ":x"}
}

func (s *Source) paths(m *routev3.RouteMatch) []string {
	base := "/"
	switch p := m.GetPathSpecifier().(type) {
	case *routev3.RouteMatch_Path:
		base = p.Path
	case *routev3.RouteMatch_Prefix:
		base = p.Prefix
	case *routev3.RouteMatch_PathSeparatedPrefix:
		base = p.PathSeparatedPrefix
	case *routev3.RouteMatch_SafeRegex:
		base = s.member(p.SafeRegex.GetRegex())
	case *routev3.RouteMatch_PathMatchPolicy:
		base = "/ut/b/x/y" // of the only template
	}
	if !strings.HasPrefix(base, "/") {
		base = "/" + base
	}
	if base == "/" {
		return []string{"/", fmt.Sprintf("/q%d", s.rnd.IntN(99)), "/?x=1", "/A/b", "/#f"}
	}
	second := fmt.Sprintf("%s%%%02x%s", base[:1], base[1], base[2:])
	last := fmt.Sprintf("%s%%%02X", base[:len(base)-1], base[len(base)-1])
	out := []string{
		base, base + "/", base + "x", base[:len(base)-1], strings.ToUpper(base), strings.ToLower(base), base + "?x=1", base + "/?x=/y",
		base + "/sub/7", base + "//", base + "/./", base + "/../" + base[1:], base + "/..", base + "/%2e%2E/z", "/" + base, second, last,
		base + "%2f", base + `\x`, base + "#f", base + "?x#f", base + ";p=1", base + "%20", base + "é", base + "?", base + "%3f",
		base + "//y/z", base + "/a.b/~-_", "/x" + base, base + "?" + base[1:], base + "%zz",
	}
	if p, ok := m.GetPathSpecifier().(*routev3.RouteMatch_SafeRegex); ok {
		for range 4 {
			out = append(out, "/"+strings.TrimPrefix(s.member(p.SafeRegex.GetRegex()), "/"))
		}
	}
	return out
}

// header returns a header's forms: right, repeated in both orders, joined,
// absent, and wrong.
func (s *Source) header(h *routev3.HeaderMatcher) []form {
	name := h.Name
	values := s.values(h.GetStringMatch())
	if r := h.GetRangeMatch(); r != nil {
		values = []string{fmt.Sprint(r.Start), fmt.Sprint(r.End), fmt.Sprint(r.End - 1), fmt.Sprint(r.Start - 1), "x", "+1"}
	}
	out := []form{{{name, values[0]}}, {}, {{name, "other"}}}
	if h.InvertMatch || h.GetStringMatch() == nil && !h.GetPresentMatch() {
		out = []form{{}, {{name, "other"}}}
	}
	for _, v := range values {
		out = append(out, form{{name, v}}, form{{strings.ToUpper(name), v}, {name, "other"}}, form{{name, "other"}, {name, v}})
		if a, b, ok := strings.Cut(v, ","); ok {
			out = append(out, form{{name, a}, {name, b}})
		}
	}
	return out
}

// cookie returns a cookie's forms, as header does.
func (s *Source) cookie(c *routev3.CookieMatcher) []form {
	values := s.values(c.StringMatch)
	is := c.Name + "=" + values[0]
	out := []form{
		{{"cookie", is}},
		{},
		{{"cookie", "a=b;" + is}},
		{{"cookie", "a=b; " + is + "; c=d"}},
		{{"cookie", c.Name + "=zz; " + is}},
		{{"cookie", is + "; " + c.Name + "=zz"}},
		{{"cookie", c.Name + `="` + values[0] + `"`}},
		{{"Cookie", "a=b"}, {"cookie", is}},
		{{"cookie", c.Name}},
		{{"cookie", strings.ToUpper(c.Name) + "=" + values[0]}},
	}
	if c.InvertMatch {
		out[0], out[1] = out[1], out[0]
	}
	for _, v := range values[1:] {
		out = append(out, form{{"cookie", c.Name + "=" + v}})
	}
	return out
}

// basicQueries is how many forms of a parameter come first: with a value that
// matches, without the parameter, without a value, with an empty one, after
// another parameter, and twice with one value that matches.
const basicQueries = 7

func (s *Source) query(q *routev3.QueryParameterMatcher) []string {
	values := s.values(q.GetStringMatch())
	is := func(v string) string { return q.Name + "=" + strings.ReplaceAll(v, " ", "%20") }
	v := values[0]
	out := []string{
		is(v), "", q.Name, q.Name + "=", "x=y&" + is(v), is("zz") + "&" + is(v), is(v) + "&" + is("zz"), strings.ToUpper(q.Name) + "=" + v,
		fmt.Sprintf("%%%x", q.Name[0]) + is(v)[1:], ";" + is(v), is(v) + ";x", is(v) + "#f", "&&" + is(v), is(strings.ReplaceAll(v, "a", "%61")),
	}
	for _, v := range values[1:] {
		out = append(out, is(v))
	}
	return out
}

// values returns texts at the edges of a matcher.
func (s *Source) values(m *matcherv3.StringMatcher) []string {
	base := "v"
	switch p := m.GetMatchPattern().(type) {
	case *matcherv3.StringMatcher_Exact:
		base = p.Exact
	case *matcherv3.StringMatcher_Prefix:
		base = p.Prefix
	case *matcherv3.StringMatcher_Suffix:
		base = p.Suffix
	case *matcherv3.StringMatcher_Contains:
		base = p.Contains
	case *matcherv3.StringMatcher_SafeRegex:
		base = s.member(p.SafeRegex.GetRegex())
	}
	base = strings.TrimSpace(base)
	return []string{base, base + "x", "x" + base, strings.ToUpper(base), "", base + "," + base, "x" + base + "x"}
}

// origins returns values of the Origin header for a route that has a CORS
// policy.
func (s *Source) origins(route *routev3.Route) []string {
	packed := route.TypedPerFilterConfig["envoy.filters.http.cors"]
	policy := &corsv3.CorsPolicy{}
	if packed == nil || packed.UnmarshalTo(policy) != nil {
		return nil
	}
	out := []string{"http://other.example.org"}
	for _, m := range policy.AllowOriginStringMatch {
		out = append(out, s.values(m)[:4]...)
	}
	return out
}

// member returns a text that an expression matches, or nearly so: bounds of
// repetition and anchors are taken lightly.
func (s *Source) member(expression string) string {
	parsed, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		return "/"
	}
	var b strings.Builder
	s.write(&b, parsed, 0)
	return strings.Map(func(c rune) rune {
		if c < 0x20 || c > '~' {
			return 'u'
		}
		return c
	}, b.String())
}

// maxDepth and maxMember bound what member writes.
const (
	maxDepth  = 50
	maxMember = 200
)

func (s *Source) write(b *strings.Builder, x *syntax.Regexp, depth int) {
	if depth > maxDepth || b.Len() > maxMember {
		return
	}
	switch x.Op {
	case syntax.OpLiteral:
		b.WriteString(string(x.Rune))
	case syntax.OpCharClass:
		b.WriteRune(s.char(x.Rune))
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		b.WriteRune(rune('a' + s.rnd.IntN(26)))
	case syntax.OpAlternate:
		s.write(b, x.Sub[s.rnd.IntN(len(x.Sub))], depth+1)
	default:
		for range s.times(x) {
			for _, sub := range x.Sub {
				s.write(b, sub, depth+1)
			}
		}
	}
}

// times returns how often to repeat a part of an expression.
func (s *Source) times(x *syntax.Regexp) int {
	switch x.Op {
	case syntax.OpStar, syntax.OpPlus:
		return 1 + s.rnd.IntN(3)
	case syntax.OpQuest:
		return s.rnd.IntN(2)
	case syntax.OpRepeat:
		return x.Min + s.rnd.IntN(2)
	}
	return 1
}

// char returns a printable character of a class, given as pairs of bounds.
func (s *Source) char(class []rune) rune {
	i := 2 * s.rnd.IntN(len(class)/2)
	low, high := max(class[i], 'k'), min(class[i+1], 'n')
	if low > high {
		low, high = class[i], min(class[i+1], '~')
	}
	return low + rune(s.rnd.IntN(int(math.Max(1, float64(high-low+1)))))
}
