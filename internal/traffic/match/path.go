package match

import (
	"fmt"
	"net/http"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// matchPath reports whether a request satisfies the path condition of a route,
// and how many bytes of the path a prefix rewrite replaces. The query takes no
// part, and case_sensitive does not apply to regular expressions.
func matchPath(m *routev3.RouteMatch, r *Request) (matched int, holds truth) {
	p, _ := cutQuery(r.Path)
	ignoreCase := ignoresCase(m)
	switch s := m.GetPathSpecifier().(type) {
	case *routev3.RouteMatch_Prefix:
		return len(s.Prefix), truthOf(hasPrefix(p, s.Prefix, ignoreCase))
	case *routev3.RouteMatch_Path:
		return len(s.Path), truthOf(equal(p, s.Path, ignoreCase))
	case *routev3.RouteMatch_PathSeparatedPrefix:
		n := len(s.PathSeparatedPrefix)
		return n, truthOf(hasPrefix(p, s.PathSeparatedPrefix, ignoreCase) && (len(p) == n || p[n] == '/'))
	case *routev3.RouteMatch_SafeRegex:
		return len(p), truthOf(compiled(s.SafeRegex.GetRegex()).matches(p))
	case *routev3.RouteMatch_ConnectMatcher_:
		return len(p), truthOf(r.Method == http.MethodConnect)
	case *routev3.RouteMatch_PathMatchPolicy:
		return len(p), matchTemplate(s.PathMatchPolicy, p)
	}
	return 0, no
}

func ignoresCase(m *routev3.RouteMatch) bool {
	return m.GetCaseSensitive() != nil && !m.GetCaseSensitive().Value
}

// describePath says why a path does not satisfy a route, such as: path /a is
// not prefix /b.
func describePath(m *routev3.RouteMatch, r *Request) string {
	p, _ := cutQuery(r.Path)
	var want string
	switch s := m.GetPathSpecifier().(type) {
	case *routev3.RouteMatch_Prefix:
		want = "prefix " + s.Prefix
	case *routev3.RouteMatch_Path:
		want = "exact " + s.Path
	case *routev3.RouteMatch_PathSeparatedPrefix:
		want = fmt.Sprintf("prefix %s alone or before a slash", s.PathSeparatedPrefix)
	case *routev3.RouteMatch_SafeRegex:
		want = describeRegex(s.SafeRegex.GetRegex())
	case *routev3.RouteMatch_ConnectMatcher_:
		return "method " + r.Method + " is not CONNECT"
	case *routev3.RouteMatch_PathMatchPolicy:
		want = "like " + templateText(s.PathMatchPolicy)
	default:
		return "its path condition is not understood"
	}
	if ignoresCase(m) {
		want += " in any case"
	}
	return fmt.Sprintf("path %s is not %s", p, want)
}

// matchURLPath reports whether a path without its query satisfies a path
// matcher of a policy.
func matchURLPath(m *matcherv3.PathMatcher, path string) bool {
	p, _ := cutQuery(path)
	return matchString(m.GetPath(), p)
}

// templateLiteral is what one asterisk of a URI template may stand for
// (uri_template_internal.cc).
const templateLiteral = `a-zA-Z0-9\-._~%!$&'()+,;:@=`

// templateRegex turns a URI template such as /a/{*}/b or /a/* into a regular
// expression: an asterisk stands for one path segment that is not empty, two
// for any number of them. Names of variables do not matter.
func templateRegex(template string) string {
	var b strings.Builder
	for i := 0; i < len(template); i++ {
		switch c := template[i]; {
		case c == '{':
			variable, rest, ok := strings.Cut(template[i+1:], "}")
			if !ok || strings.Contains(variable, "{") {
				return "[" // invalid, and so it never matches
			}
			b.WriteString(templateRegex(variablePattern(variable)))
			i = len(template) - len(rest) - 1
		case c == '*' && strings.HasPrefix(template[i:], "**"):
			b.WriteString("[" + templateLiteral + "/]*")
			i++
		case c == '*':
			b.WriteString("[" + templateLiteral + "]+")
		case strings.IndexByte(`\.+()|[]{}^$?`, c) >= 0:
			b.WriteString(`\` + string(c))
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// variablePattern returns what a variable of a template stands for: what
// follows its name, or one segment.
func variablePattern(variable string) string {
	if _, pattern, ok := strings.Cut(variable, "="); ok {
		return pattern
	}
	if variable == "**" {
		return "**"
	}
	return "*"
}
