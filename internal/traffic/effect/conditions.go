package effect

import (
	"fmt"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
)

// conditions tells which requests a route takes: "for /wpcatalog* with header
// end-user jason"; "" if it takes all.
func conditions(m *routev3.RouteMatch) string {
	if m == nil {
		return ""
	}
	var out []string
	if p := pathWords(m); p != "" {
		out = append(out, "for "+p)
	}
	var with []string
	for i, h := range m.GetHeaders() {
		if i == 3 {
			with = append(with, fmt.Sprintf("%d more conditions", len(m.GetHeaders())-i))
			break
		}
		with = append(with, headerWords(h))
	}
	for _, q := range m.GetQueryParameters() {
		with = append(with, queryWords(q))
	}
	if len(m.GetDynamicMetadata()) > 0 {
		with = append(with, "claims of a token")
	}
	if len(with) > 0 {
		out = append(out, "with "+strings.Join(with, " and "))
	}
	return strings.Join(out, " ")
}

func pathWords(m *routev3.RouteMatch) string {
	switch p := m.GetPathSpecifier().(type) {
	case *routev3.RouteMatch_Prefix:
		if p.Prefix == "/" || p.Prefix == "" {
			return ""
		}
		return p.Prefix + "*"
	case *routev3.RouteMatch_Path:
		return p.Path
	case *routev3.RouteMatch_PathSeparatedPrefix:
		return p.PathSeparatedPrefix + " and below"
	case *routev3.RouteMatch_SafeRegex:
		return "paths like " + p.SafeRegex.GetRegex()
	case *routev3.RouteMatch_PathMatchPolicy:
		return "paths of a template"
	}
	return ""
}

func headerWords(h *routev3.HeaderMatcher) string {
	name := "header " + h.GetName()
	switch h.GetName() {
	case ":method":
		name = "method"
	case ":authority":
		name = "host"
	case ":scheme":
		name = "scheme"
	}
	not := ""
	if h.GetInvertMatch() {
		not = "not "
	}
	switch s := h.GetHeaderMatchSpecifier().(type) {
	case *routev3.HeaderMatcher_StringMatch:
		return name + " " + not + matcherWords(s.StringMatch)
	case *routev3.HeaderMatcher_PresentMatch:
		if s.PresentMatch == h.GetInvertMatch() {
			return "no " + name
		}
		return name
	case *routev3.HeaderMatcher_RangeMatch:
		return fmt.Sprintf("%s %s%d to %d", name, not, s.RangeMatch.GetStart(), s.RangeMatch.GetEnd()-1)
	}
	return name
}

func queryWords(q *routev3.QueryParameterMatcher) string {
	if s := q.GetStringMatch(); s != nil {
		return "query " + q.GetName() + " " + matcherWords(s)
	}
	return "query " + q.GetName()
}
