package match

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// jwtFilter is the name under which the JWT filter leaves what it found, and
// jwtPayload the key that istiod gives every provider.
const (
	jwtFilter  = "envoy.filters.http.jwt_authn"
	jwtPayload = "payload"
)

// Payload returns all claims of a token as its JSON, and so Envoy's metadata,
// holds them: the registered ones beside Claims. The map is the caller's.
func (t *Token) Payload() map[string]any {
	claims := map[string]any{}
	maps.Copy(claims, t.Claims)
	if t.Issuer != "" {
		claims["iss"] = t.Issuer
	}
	if t.Subject != "" {
		claims["sub"] = t.Subject
	}
	switch len(t.Audiences) {
	case 0:
	case 1:
		claims["aud"] = t.Audiences[0]
	default:
		claims["aud"] = t.Audiences
	}
	return claims
}

// metadata returns the dynamic metadata that a route at a gateway sees: the
// claims of a valid token.
func (r *Request) metadata() map[string]any {
	if r.Token == nil || !r.Token.Valid {
		return nil
	}
	return map[string]any{jwtFilter: map[string]any{jwtPayload: r.Token.Payload()}}
}

// matchMetadata reports whether dynamic metadata, by filter, satisfies a
// matcher. What is not there has no value, which no value matcher takes.
func matchMetadata(m *matcherv3.MetadataMatcher, metadata map[string]any) bool {
	value, ok := metadata[m.GetFilter()]
	for _, segment := range m.GetPath() {
		branch, isMap := value.(map[string]any)
		if !ok || !isMap {
			ok = false
			break
		}
		value, ok = branch[segment.GetKey()]
	}
	return (ok && matchAny(m.GetValue(), value)) != m.GetInvert()
}

// matchAny reports whether a decoded JSON value satisfies a value matcher.
func matchAny(m *matcherv3.ValueMatcher, value any) bool {
	switch p := m.GetMatchPattern().(type) {
	case *matcherv3.ValueMatcher_StringMatch:
		s, ok := value.(string)
		return ok && matchString(p.StringMatch, s)
	case *matcherv3.ValueMatcher_ListMatch:
		one := p.ListMatch.GetOneOf()
		return slices.ContainsFunc(elements(value), func(e any) bool { return matchAny(one, e) })
	case *matcherv3.ValueMatcher_OrMatch:
		return slices.ContainsFunc(p.OrMatch.GetValueMatchers(), func(m *matcherv3.ValueMatcher) bool { return matchAny(m, value) })
	case *matcherv3.ValueMatcher_PresentMatch:
		return p.PresentMatch
	case *matcherv3.ValueMatcher_BoolMatch:
		b, ok := value.(bool)
		return ok && b == p.BoolMatch
	case *matcherv3.ValueMatcher_NullMatch_:
		return value == nil
	case *matcherv3.ValueMatcher_DoubleMatch:
		f, ok := number(value)
		return ok && matchNumber(p.DoubleMatch, f)
	}
	return false
}

// elements returns the elements of a list; nothing for what is no list.
func elements(value any) []any {
	switch list := value.(type) {
	case []any:
		return list
	case []string:
		out := make([]any, len(list))
		for i, s := range list {
			out[i] = s
		}
		return out
	}
	return nil
}

func number(value any) (float64, bool) {
	switch n := value.(type) {
	case float64:
		return n, true
	case int:
		return float64(n), true
	case int64:
		return float64(n), true
	}
	return 0, false
}

func matchNumber(m *matcherv3.DoubleMatcher, f float64) bool {
	if r := m.GetRange(); r != nil {
		return f >= r.Start && f < r.End
	}
	return f == m.GetExact()
}

// describeMetadata says what a metadata matcher wants.
func describeMetadata(m *matcherv3.MetadataMatcher) string {
	var keys []string
	for _, s := range m.GetPath() {
		keys = append(keys, s.GetKey())
	}
	name := "metadata " + m.GetFilter()
	if m.GetFilter() == jwtFilter && len(keys) > 1 {
		name, keys = "claim", keys[1:]
	}
	want := describeAny(m.GetValue())
	if m.GetInvert() {
		want = "not " + want
	}
	return fmt.Sprintf("%s %s: wanted %s", name, strings.Join(keys, "."), want)
}

func describeAny(m *matcherv3.ValueMatcher) string {
	switch p := m.GetMatchPattern().(type) {
	case *matcherv3.ValueMatcher_StringMatch:
		return describeString(p.StringMatch)
	case *matcherv3.ValueMatcher_ListMatch:
		return describeAny(p.ListMatch.GetOneOf())
	case *matcherv3.ValueMatcher_OrMatch:
		var all []string
		for _, alternative := range p.OrMatch.GetValueMatchers() {
			if s := describeAny(alternative); !slices.Contains(all, s) {
				all = append(all, s)
			}
		}
		return strings.Join(all, " or ")
	case *matcherv3.ValueMatcher_PresentMatch:
		return "any value"
	case *matcherv3.ValueMatcher_BoolMatch:
		return fmt.Sprint(p.BoolMatch)
	case *matcherv3.ValueMatcher_NullMatch_:
		return "null"
	case *matcherv3.ValueMatcher_DoubleMatch:
		return "a number"
	}
	return "a value that is not understood"
}
