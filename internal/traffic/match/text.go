package match

import (
	"fmt"
	"strconv"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// matchString reports whether a value satisfies a string matcher. ignore_case
// does not apply to regular expressions.
func matchString(m *matcherv3.StringMatcher, value string) bool {
	switch p := m.GetMatchPattern().(type) {
	case *matcherv3.StringMatcher_Exact:
		return equal(value, p.Exact, m.IgnoreCase)
	case *matcherv3.StringMatcher_Prefix:
		return hasPrefix(value, p.Prefix, m.IgnoreCase)
	case *matcherv3.StringMatcher_Suffix:
		i := len(value) - len(p.Suffix)
		return i >= 0 && equal(value[i:], p.Suffix, m.IgnoreCase)
	case *matcherv3.StringMatcher_Contains:
		if m.IgnoreCase {
			return strings.Contains(lower(value), lower(p.Contains))
		}
		return strings.Contains(value, p.Contains)
	case *matcherv3.StringMatcher_SafeRegex:
		return compiled(p.SafeRegex.GetRegex()).matches(value)
	}
	return false
}

// describeString says what a string matcher wants, such as: exact "jason".
func describeString(m *matcherv3.StringMatcher) string {
	var s string
	switch p := m.GetMatchPattern().(type) {
	case *matcherv3.StringMatcher_Exact:
		s = fmt.Sprintf("exact %q", p.Exact)
	case *matcherv3.StringMatcher_Prefix:
		s = fmt.Sprintf("prefix %q", p.Prefix)
	case *matcherv3.StringMatcher_Suffix:
		s = fmt.Sprintf("suffix %q", p.Suffix)
	case *matcherv3.StringMatcher_Contains:
		s = fmt.Sprintf("a value with %q", p.Contains)
	case *matcherv3.StringMatcher_SafeRegex:
		return describeRegex(p.SafeRegex.GetRegex())
	default:
		return "a value that is not understood"
	}
	if m.IgnoreCase {
		s += " in any case"
	}
	return s
}

func describeRegex(expr string) string {
	if compiled(expr).whole == nil {
		return fmt.Sprintf("regex %q, which is invalid: Envoy rejects it and it never matches", expr)
	}
	return fmt.Sprintf("regex %q", expr)
}

func equal(a, b string, ignoreCase bool) bool {
	return a == b || ignoreCase && len(a) == len(b) && lower(a) == lower(b)
}

func hasPrefix(s, prefix string, ignoreCase bool) bool {
	return len(s) >= len(prefix) && equal(s[:len(prefix)], prefix, ignoreCase)
}

// lower folds the case of ASCII letters alone, as Envoy does.
func lower(s string) string {
	for i := range len(s) {
		if s[i] >= 'A' && s[i] <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				if b[i] >= 'A' && b[i] <= 'Z' {
					b[i] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}

// matchHeader reports whether a request satisfies a header matcher. Since Envoy
// 1.39 every value of a repeated header is tried by itself: one that matches is
// enough, and an inverted matcher wants none to match. A header that is absent
// satisfies only a matcher for absence, or any if it counts as empty.
func matchHeader(h *routev3.HeaderMatcher, r *Request) truth {
	var room [4]string
	values := r.appendHeader(room[:0], h.Name)
	if len(values) == 1 && (values[0] == doubtful || values[0] == madeUp && valueMatcher(h) != nil) {
		return unsure
	}
	return truthOf(matchValues(h, values))
}

func matchValues(h *routev3.HeaderMatcher, values []string) bool {
	switch s := h.HeaderMatchSpecifier.(type) {
	case *routev3.HeaderMatcher_PresentMatch:
		return (len(values) > 0) == s.PresentMatch != h.InvertMatch
	case nil:
		return len(values) > 0 != h.InvertMatch
	}
	if len(values) == 0 {
		if !h.TreatMissingHeaderAsEmpty {
			return false
		}
		return matchValue(h, "") != h.InvertMatch
	}
	for _, v := range values {
		if matchValue(h, v) {
			return !h.InvertMatch
		}
	}
	return h.InvertMatch
}

// matchValue reports whether one value satisfies a header matcher that wants a
// value, without its inversion.
func matchValue(h *routev3.HeaderMatcher, v string) bool {
	switch s := h.HeaderMatchSpecifier.(type) {
	case *routev3.HeaderMatcher_RangeMatch:
		i, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
		return err == nil && i >= s.RangeMatch.GetStart() && i < s.RangeMatch.GetEnd()
	case *routev3.HeaderMatcher_ExactMatch:
		if deprecated(h).GetExactMatch() == "" {
			return true
		}
	}
	m := valueMatcher(h)
	return m != nil && matchString(m, v)
}

// deprecatedForms are the older ways to write a header matcher, which Envoy still
// obeys.
type deprecatedForms interface {
	GetExactMatch() string
	GetPrefixMatch() string
	GetSuffixMatch() string
	GetContainsMatch() string
	GetSafeRegexMatch() *matcherv3.RegexMatcher
}

func deprecated(h *routev3.HeaderMatcher) deprecatedForms { return h }

// valueMatcher returns the string matcher of a header matcher, made of its
// deprecated forms if it is written so; nil if it has another form.
func valueMatcher(h *routev3.HeaderMatcher) *matcherv3.StringMatcher {
	switch s := h.HeaderMatchSpecifier.(type) {
	case *routev3.HeaderMatcher_StringMatch:
		return s.StringMatch
	case *routev3.HeaderMatcher_ExactMatch:
		return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: deprecated(h).GetExactMatch()}}
	case *routev3.HeaderMatcher_PrefixMatch:
		return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: deprecated(h).GetPrefixMatch()}}
	case *routev3.HeaderMatcher_SuffixMatch:
		return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Suffix{Suffix: deprecated(h).GetSuffixMatch()}}
	case *routev3.HeaderMatcher_ContainsMatch:
		return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Contains{Contains: deprecated(h).GetContainsMatch()}}
	case *routev3.HeaderMatcher_SafeRegexMatch:
		return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: deprecated(h).GetSafeRegexMatch()}}
	}
	return nil
}

// describeHeader says what a header matcher wants.
func describeHeader(h *routev3.HeaderMatcher) string {
	var want string
	switch s := h.HeaderMatchSpecifier.(type) {
	case *routev3.HeaderMatcher_PresentMatch:
		if s.PresentMatch == h.InvertMatch {
			return "absence"
		}
		return "any value"
	case nil:
		if h.InvertMatch {
			return "absence"
		}
		return "any value"
	case *routev3.HeaderMatcher_RangeMatch:
		want = fmt.Sprintf("a number from %d to below %d", s.RangeMatch.GetStart(), s.RangeMatch.GetEnd())
	default:
		want = describeString(valueMatcher(h))
	}
	if h.InvertMatch {
		return "not " + want
	}
	return want
}

// describeValues says what a request has of a header or parameter.
func describeValues(values []string) string {
	if len(values) == 0 {
		return "absent"
	}
	if values[0] == madeUp || values[0] == doubtful {
		return "is what Envoy makes up"
	}
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = strconv.Quote(v)
	}
	return "is " + strings.Join(quoted, " and ")
}

// queryValue returns the first value of a parameter, undecoded as Envoy
// compares it.
func queryValue(path, name string) (value string, ok bool) {
	_, query := cutQuery(path)
	if query == "" {
		return "", false
	}
	for rest := query[1:]; ; {
		pair, tail, more := strings.Cut(rest, "&")
		if k, v, _ := strings.Cut(pair, "="); k == name {
			return v, true
		}
		if !more {
			return "", false
		}
		rest = tail
	}
}

// matchQuery reports whether a request satisfies a query parameter matcher.
func matchQuery(q *routev3.QueryParameterMatcher, r *Request) bool {
	value, ok := queryValue(r.Path, q.Name)
	switch s := q.QueryParameterMatchSpecifier.(type) {
	case *routev3.QueryParameterMatcher_StringMatch:
		return ok && matchString(s.StringMatch, value)
	case *routev3.QueryParameterMatcher_PresentMatch:
		return ok == s.PresentMatch
	}
	return ok
}

func describeQuery(q *routev3.QueryParameterMatcher) string {
	switch s := q.QueryParameterMatchSpecifier.(type) {
	case *routev3.QueryParameterMatcher_StringMatch:
		return describeString(s.StringMatch)
	case *routev3.QueryParameterMatcher_PresentMatch:
		if !s.PresentMatch {
			return "absence"
		}
	}
	return "any value"
}
