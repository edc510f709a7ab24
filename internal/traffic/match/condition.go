package match

import (
	"slices"
	"strconv"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// Part is what of a call a condition looks at.
type Part string

// The parts of a call.
const (
	PartHost      Part = "host"
	PartPath      Part = "path"
	PartMethod    Part = "method"
	PartScheme    Part = "scheme"
	PartHeader    Part = "header"
	PartQuery     Part = "query parameter"
	PartCookie    Part = "cookie"
	PartClaim     Part = "claim"
	PartBucket    Part = "bucket"
	PartIdentity  Part = "identity"
	PartSource    Part = "source"
	PartRemote    Part = "remote"
	PartDestIP    Part = "destination address"
	PartDestPort  Part = "destination port"
	PartSNI       Part = "server name"
	PartPlaintext Part = "plaintext"
)

// Value is a value of a part of a call.
type Value struct {
	// Absent says that the part is not there at all.
	Absent bool
	Text   string
	// List says that a claim is a list of this one text.
	List bool
}

// Condition is one thing that a rule asks for, with values that satisfy it and
// values that do not. Either list may be empty if no value is known.
type Condition struct {
	Part Part
	// Name is that of the header, query parameter or cookie, or the path of the claim,
	// joined by dots.
	Name  string
	True  []Value
	False []Value
}

// Conditions returns what a route asks for, in the order path, headers, query
// parameters, cookies, claims, share. Method, host and scheme are parts of their own
// although Envoy treats them as headers.
func Conditions(m *routev3.RouteMatch) []Condition {
	out := []Condition{pathCondition(m)}
	for _, h := range m.GetHeaders() {
		out = append(out, headerCondition(h))
	}
	for _, q := range m.GetQueryParameters() {
		out = append(out, queryCondition(q))
	}
	if m.GetGrpc() != nil {
		out = append(out, Condition{
			Part: PartHeader, Name: "content-type",
			True: []Value{{Text: "application/grpc"}}, False: []Value{{Absent: true}, {Text: "application/json"}},
		})
	}
	for _, k := range m.GetCookies() {
		out = append(out, cookieCondition(k))
	}
	for _, d := range m.GetDynamicMetadata() {
		out = append(out, metadataCondition(d))
	}
	if f := m.GetRuntimeFraction(); f != nil {
		n := strconv.FormatUint(uint64(f.GetDefaultValue().GetNumerator()), 10)
		out = append(out, Condition{Part: PartBucket, True: []Value{{Text: "0"}}, False: []Value{{Text: n}}})
	}
	return out
}

// pathCondition returns paths that a route takes and does not. Every value is
// checked, and is one that a client can send.
func pathCondition(m *routev3.RouteMatch) Condition {
	var tries []string
	switch s := m.GetPathSpecifier().(type) {
	case *routev3.RouteMatch_Path:
		tries = []string{s.Path, s.Path + "/", s.Path + "x", s.Path + "/x"}
	case *routev3.RouteMatch_Prefix:
		tries = []string{s.Prefix, s.Prefix + "x", s.Prefix + "/x"}
	case *routev3.RouteMatch_PathSeparatedPrefix:
		tries = []string{s.PathSeparatedPrefix, s.PathSeparatedPrefix + "/x", s.PathSeparatedPrefix + "x", s.PathSeparatedPrefix + "/"}
	case *routev3.RouteMatch_SafeRegex:
		tries = Members(s.SafeRegex.GetRegex())
	case *routev3.RouteMatch_PathMatchPolicy:
		expr, _ := templateOf(s.PathMatchPolicy)
		tries = Members(expr)
	}
	return pathsFor(tries, func(path string) bool {
		_, holds := matchPath(m, &Request{Path: path, Method: "GET"})
		return holds == yes
	})
}

// pathsFor sorts paths, and variants of them, by a test.
func pathsFor(tries []string, test func(path string) bool) Condition {
	all := slices.Clone(tries)
	for _, t := range tries {
		all = append(all, t+"x", strings.TrimSuffix(t, lastByte(t)), strings.ToUpper(t))
	}
	all = append(all, "/", "/zz-none")
	c := Condition{Part: PartPath}
	for _, t := range all {
		t = strings.ReplaceAll(t, " ", "%20")
		if strings.HasPrefix(t, "/") && allIn(t, &pathChars) && !strings.ContainsAny(t, "?#") {
			c.add(Value{Text: t}, test(t))
		}
	}
	return c
}

func lastByte(s string) string {
	if s == "" {
		return ""
	}
	return s[len(s)-1:]
}

// maxValues bounds the values of either side of a Condition.
const maxValues = 4

// add takes a value unless it is there already, or there are enough.
func (c *Condition) add(v Value, ok bool) { c.addUpTo(maxValues, v, ok) }

func (c *Condition) addUpTo(most int, v Value, ok bool) {
	into := &c.False
	if ok {
		into = &c.True
	}
	if len(*into) < most && !slices.Contains(*into, v) {
		*into = append(*into, v)
	}
}

func headerCondition(h *routev3.HeaderMatcher) Condition {
	c := Condition{Part: PartHeader, Name: h.GetName()}
	tries := append(tries(valueMatcher(h)), "zz-none")
	if r := h.GetRangeMatch(); r != nil {
		tries = []string{strconv.FormatInt(r.GetStart(), 10), strconv.FormatInt(r.GetEnd(), 10), "zz-none"}
	}
	if part := partOf(strings.ToLower(h.GetName())); part != "" {
		c.Part, c.Name = part, ""
		tries = append(tries, defaults[part]...)
	} else {
		c.add(Value{Absent: true}, matchValues(h, nil))
	}
	for _, t := range tries {
		if sendable(c.Part, t) {
			c.add(Value{Text: t}, matchValues(h, []string{t}))
		}
	}
	return c
}

// partOf returns the part of a call that Envoy treats as a header of this
// lower-case name; "" if it is a header indeed.
func partOf(name string) Part {
	switch name {
	case ":method":
		return PartMethod
	case ":authority", "host":
		return PartHost
	case ":scheme":
		return PartScheme
	}
	return ""
}

// defaults are what is tried besides what a matcher names.
var defaults = map[Part][]string{
	PartMethod: {"GET", "POST", "DELETE"},
	PartScheme: {"http", "https"},
}

// sendable reports whether a client can send a value.
func sendable(part Part, v string) bool {
	switch part {
	case PartMethod:
		return knownMethod(v)
	case PartHost:
		return v != "" && allIn(v, &hostChars)
	case PartScheme:
		return v == "http" || v == "https"
	case PartQuery, PartCookie:
		return allIn(v, &pathChars) && !strings.ContainsAny(v, `&#;"`)
	}
	return strings.IndexFunc(v, func(r rune) bool { return r < ' ' || r > '~' }) < 0 && strings.TrimSpace(v) == v
}

func queryCondition(q *routev3.QueryParameterMatcher) Condition {
	c := Condition{Part: PartQuery, Name: q.GetName()}
	for _, v := range append([]Value{{Absent: true}}, texts(append(tries(q.GetStringMatch()), "zz-none"))...) {
		if v.Absent || sendable(PartQuery, v.Text) {
			r := Request{Path: "/"}
			r.setQuery(q.GetName(), v)
			c.add(v, matchQuery(q, &r))
		}
	}
	return c
}

func texts(list []string) []Value {
	out := make([]Value, len(list))
	for i, t := range list {
		out[i] = Value{Text: t}
	}
	return out
}

// metadataCondition covers claims; a condition on other metadata has no values.
func metadataCondition(m *matcherv3.MetadataMatcher) Condition {
	var keys []string
	for _, s := range m.GetPath() {
		keys = append(keys, s.GetKey())
	}
	if m.GetFilter() != jwtFilter || len(keys) < 2 {
		return Condition{Part: PartClaim}
	}
	c := Condition{Part: PartClaim, Name: strings.Join(keys[1:], ".")}
	exact, near := anyTries(m.GetValue())
	add := func(most int, values ...Value) {
		for _, v := range values {
			r := Request{}
			r.setClaim(keys[1:], v)
			c.addUpTo(most, v, matchMetadata(m, map[string]any{jwtFilter: map[string]any{keys[0]: r.Token.Payload()}}))
		}
	}
	add(maxValues, Value{Absent: true})
	if c.Name == "sub" {
		add(maxValues, Value{Text: Somebody})
	}
	add(maxClaims, texts(exact)...)
	add(maxValues, Value{Text: "zz-none"})
	if len(exact) > 0 {
		add(maxValues, Value{Text: exact[0], List: true})
	}
	add(maxValues, texts(near)...)
	return c
}

// Somebody is the subject of tokens where no rule asks for one.
const Somebody = "somebody"

// maxClaims bounds the values of either side of a Condition on a claim, all of
// which one matcher names.
const maxClaims = 32

// anyTries returns the texts that a value matcher names, bounded, and some that
// are like them.
func anyTries(m *matcherv3.ValueMatcher) (exact, near []string) {
	switch p := m.GetMatchPattern().(type) {
	case *matcherv3.ValueMatcher_StringMatch:
		if all := tries(p.StringMatch); len(all) > 0 {
			return all[:1], all[1:]
		}
	case *matcherv3.ValueMatcher_ListMatch:
		return anyTries(p.ListMatch.GetOneOf())
	case *matcherv3.ValueMatcher_OrMatch:
		for _, x := range p.OrMatch.GetValueMatchers() {
			e, n := anyTries(x)
			for _, text := range e {
				if len(exact) < maxClaims && !slices.Contains(exact, text) {
					exact = append(exact, text)
				}
			}
			if len(near) < maxValues {
				near = append(near, n...)
			}
		}
	}
	return exact, near
}

// tries returns texts that a string matcher may take or just miss.
func tries(m *matcherv3.StringMatcher) []string {
	var at []string
	switch p := m.GetMatchPattern().(type) {
	case *matcherv3.StringMatcher_Exact:
		at = []string{p.Exact, p.Exact + "x"}
	case *matcherv3.StringMatcher_Prefix:
		at = []string{p.Prefix, p.Prefix + "x", "x" + p.Prefix}
	case *matcherv3.StringMatcher_Suffix:
		at = []string{p.Suffix, "x" + p.Suffix, p.Suffix + "x"}
	case *matcherv3.StringMatcher_Contains:
		at = []string{p.Contains, "x" + p.Contains + "x"}
	case *matcherv3.StringMatcher_SafeRegex:
		at = Members(p.SafeRegex.GetRegex())
		for _, t := range slices.Clone(at) {
			at = append(at, t+"x")
		}
	}
	for _, t := range slices.Clone(at) {
		if u := strings.ToUpper(t); u != t && len(at) < 16 {
			at = append(at, u)
		}
	}
	return at
}
