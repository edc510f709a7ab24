package match

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	jwtv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/jwt_authn/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// PolicyCandidates returns calls that tell the policies of filter chains
// apart: for every policy calls that match it and calls that miss one of its
// conditions, every principal with every permission of all of them, and, if
// tokens are looked at, calls with and without one of each kind. They are
// sorted, and no two are equal. all is false if the bound was reached, so that
// some may be left out.
func PolicyCandidates(o CandidateOptions, stacks ...*Stack) (calls []Call, all bool) {
	o = o.filled()
	found := &collection{max: o.Max, held: map[string]Call{}}
	found.add(o.Base)
	p := policyParts{trustDomain: o.TrustDomain, anyCaller: o.AnyCaller, asksBoth: IdentitiesOf(stacks...).both()}
	for _, s := range stacks {
		p.collect(s)
	}
	p.principals, p.permissions = eachOnce(p.principals), eachOnce(p.permissions)
	add := func(a assignment) {
		c := a.apply(o.Base)
		p.issue(&c)
		found.add(c)
	}
	for _, f := range p.whole {
		for _, want := range []bool{true, false} {
			for _, a := range f.solve(want) {
				add(a)
			}
		}
	}
	p.tokens(found, o.Base)
	for _, who := range p.principals {
		for _, what := range p.permissions {
			if found.full() {
				return found.sorted(), false
			}
			add(slices.Concat(who, what))
		}
	}
	return found.sorted(), !found.cut
}

// eachOnce leaves out assignments that are there already, as those of policies
// that differ in their callers alone.
func eachOnce(all []assignment) []assignment {
	seen := map[string]bool{}
	return slices.DeleteFunc(all, func(a assignment) bool {
		key := fmt.Sprintf("%#v", a)
		known := seen[key]
		seen[key] = true
		return known
	})
}

// policyParts is what the policies of some chains are made of.
type policyParts struct {
	trustDomain string
	// anyCaller: who calls, and from where, is left open.
	anyCaller bool
	// asksBoth: policies ask for the address of the connection, and for that
	// which X-Forwarded-For tells.
	asksBoth bool
	whole    []formula
	// principals and permissions are the plainest assignments of each.
	principals, permissions []assignment
	providers               []*jwtv3.JwtProvider
}

func (p *policyParts) collect(s *Stack) {
	for _, g := range slices.Concat(s.network, s.http) {
		for _, name := range slices.Sorted(maps.Keys(g.jwt.GetProviders())) {
			p.providers = append(p.providers, g.jwt.GetProviders()[name])
		}
		if g.rbac == nil {
			continue
		}
		for _, r := range []*ruleset{g.rbac.enforced, g.rbac.shadow} {
			if r == nil {
				continue
			}
			for _, name := range r.names {
				p.policy(r.Policies[name])
			}
		}
	}
}

func (p *policyParts) policy(x *rbacv3.Policy) {
	what, who := formula{op: or}, formula{op: or}
	for _, perm := range x.GetPermissions() {
		what.subs = append(what.subs, p.permission(perm, 0))
	}
	for _, prin := range x.GetPrincipals() {
		who.subs = append(who.subs, p.principal(prin, 0))
	}
	p.whole = append(p.whole, formula{op: and, subs: []formula{what, who}})
	p.permissions = append(p.permissions, what.solve(true)...)
	p.principals = append(p.principals, who.solve(true)...)
}

// issue gives a token that an assignment began an issuer and an audience that
// are trusted, unless it has its own.
func (p *policyParts) issue(c *Call) {
	t := c.Request.Token
	if t == nil || len(p.providers) == 0 {
		return
	}
	copied := *t
	copied.Issuer = cmp.Or(t.Issuer, p.providers[0].GetIssuer())
	copied.Subject = cmp.Or(t.Subject, Somebody)
	if len(t.Audiences) == 0 {
		copied.Audiences = p.providers[0].GetAudiences()
	}
	c.Request.Token = &copied
}

// tokens adds calls with tokens of every kind.
func (p *policyParts) tokens(found *collection, base Call) {
	var all []*Token
	for _, provider := range p.providers {
		good := Token{Issuer: provider.GetIssuer(), Subject: Somebody, Audiences: provider.GetAudiences(), Valid: true}
		forged, foreign, astray := good, good, good
		forged.Valid = false
		foreign.Issuer = "https://zz-none.example"
		astray.Audiences = []string{"zz-none"}
		all = append(all, &good, &forged, &foreign, &astray)
	}
	for _, t := range all {
		c := base
		c.Request.Token = t
		found.add(c)
	}
}

func (p *policyParts) permission(x *rbacv3.Permission, depth int) formula {
	if depth > maxTreeDepth {
		return formula{}
	}
	deeper := func(x *rbacv3.Permission) formula { return p.permission(x, depth+1) }
	switch r := x.GetRule().(type) {
	case *rbacv3.Permission_Any:
		return formula{op: always}
	case *rbacv3.Permission_AndRules:
		return formula{op: and, subs: each(r.AndRules.GetRules(), deeper)}
	case *rbacv3.Permission_OrRules:
		return formula{op: or, subs: each(r.OrRules.GetRules(), deeper)}
	case *rbacv3.Permission_NotRule:
		return formula{op: not, subs: []formula{deeper(r.NotRule)}}
	}
	return formula{condition: permissionCondition(x)}
}

func each[T any](list []T, f func(T) formula) []formula {
	out := make([]formula, len(list))
	for i, x := range list {
		out[i] = f(x)
	}
	return out
}

func permissionCondition(x *rbacv3.Permission) Condition {
	switch r := x.GetRule().(type) {
	case *rbacv3.Permission_Header:
		return headerCondition(r.Header)
	case *rbacv3.Permission_UrlPath:
		return urlPathCondition(r.UrlPath)
	case *rbacv3.Permission_UriTemplate:
		expr, _ := templateOf(r.UriTemplate)
		return pathsFor(Members(expr), compiled(expr).matches)
	case *rbacv3.Permission_DestinationIp:
		return addressCondition(PartDestIP, r.DestinationIp)
	case *rbacv3.Permission_DestinationPort:
		return portCondition(int64(r.DestinationPort), int64(r.DestinationPort)+1)
	case *rbacv3.Permission_DestinationPortRange:
		return portCondition(int64(r.DestinationPortRange.GetStart()), int64(r.DestinationPortRange.GetEnd()))
	case *rbacv3.Permission_Metadata:
		return metadataCondition(metadataOf(x))
	case *rbacv3.Permission_RequestedServerName:
		return textCondition(PartSNI, r.RequestedServerName)
	}
	return Condition{}
}

func (p *policyParts) principal(x *rbacv3.Principal, depth int) formula {
	if depth > maxTreeDepth {
		return formula{}
	}
	deeper := func(x *rbacv3.Principal) formula { return p.principal(x, depth+1) }
	switch i := x.GetIdentifier().(type) {
	case *rbacv3.Principal_Any:
		return formula{op: always}
	case *rbacv3.Principal_AndIds:
		return formula{op: and, subs: each(i.AndIds.GetIds(), deeper)}
	case *rbacv3.Principal_OrIds:
		return formula{op: or, subs: each(i.OrIds.GetIds(), deeper)}
	case *rbacv3.Principal_NotId:
		return formula{op: not, subs: []formula{deeper(i.NotId)}}
	}
	return formula{condition: p.principalCondition(x)}
}

// anyone is a condition on callers that is left open: it may hold or not.
var anyone = Condition{True: []Value{{}}, False: []Value{{}}}

// addressRange returns the block of addresses that a principal asks for; nil if
// it asks for something else.
func addressRange(x *rbacv3.Principal) *corev3.CidrRange {
	switch i := x.GetIdentifier().(type) {
	//nolint:staticcheck // SA1019: deprecated, but Envoy 1.40 still obeys it.
	case *rbacv3.Principal_SourceIp:
		return i.SourceIp
	case *rbacv3.Principal_DirectRemoteIp:
		return i.DirectRemoteIp
	case *rbacv3.Principal_RemoteIp:
		return i.RemoteIp
	}
	return nil
}

func (p *policyParts) principalCondition(x *rbacv3.Principal) Condition {
	if r := addressRange(x); r != nil {
		return p.sourceCondition(x, r)
	}
	switch i := x.GetIdentifier().(type) {
	case *rbacv3.Principal_Authenticated_:
		return p.identityCondition(i.Authenticated.GetPrincipalName())
	case *rbacv3.Principal_FilterState:
		return p.identityCondition(i.FilterState.GetStringMatch())
	case *rbacv3.Principal_Header:
		return headerCondition(i.Header)
	case *rbacv3.Principal_UrlPath:
		return urlPathCondition(i.UrlPath)
	case *rbacv3.Principal_Metadata:
		return metadataCondition(metadataOf(x))
	}
	return Condition{}
}

func urlPathCondition(m *matcherv3.PathMatcher) Condition {
	return pathsFor(tries(m.GetPath()), func(path string) bool { return matchURLPath(m, path) })
}

func textCondition(part Part, m *matcherv3.StringMatcher) Condition {
	c := Condition{Part: part}
	for _, t := range append(tries(m), "", "zz-none") {
		c.add(Value{Text: t}, matchString(m, t))
	}
	return c
}

func portCondition(in, out int64) Condition {
	return Condition{
		Part:  PartDestPort,
		True:  []Value{{Text: strconv.FormatInt(in, 10)}},
		False: []Value{{Text: strconv.FormatInt(out%65536, 10)}},
	}
}

// identityCondition returns identities that a certificate may have. What a
// pattern leaves open becomes a service account of its own.
func (p *policyParts) identityCondition(m *matcherv3.StringMatcher) Condition {
	if p.anyCaller {
		return anyone
	}
	c := Condition{Part: PartIdentity}
	none := p.trustDomain + "/ns/zz-none/sa/zz-none"
	var all []string
	for _, t := range tries(m) {
		t = strings.TrimPrefix(t, spiffe)
		all = append(all, p.plausible(t), t)
	}
	for _, t := range append(all, none) {
		if t != "" && !strings.HasPrefix(t, "/") {
			c.add(Value{Text: t}, m == nil || matchString(m, spiffe+t))
		}
	}
	c.False = append(c.False, Value{Absent: true})
	return c
}

// plausible makes an identity as Istio has them of a text that a pattern takes.
func (p *policyParts) plausible(t string) string {
	domain, rest, _ := strings.Cut(t, "/ns/")
	namespace, _, _ := strings.Cut(rest, "/")
	_, account, _ := strings.Cut(t, "/sa/")
	if domain == "" || strings.Contains(domain, "/") || namespace == "" {
		domain = p.trustDomain
	}
	return domain + "/ns/" + cmp.Or(namespace, "default") + "/sa/" + cmp.Or(account, "default")
}

// sourceCondition is about where a request comes from. A connection has one
// address, so that a header tells of another one where policies ask for both.
func (p *policyParts) sourceCondition(x *rbacv3.Principal, r *corev3.CidrRange) Condition {
	_, remote := x.GetIdentifier().(*rbacv3.Principal_RemoteIp)
	switch {
	case remote && (p.asksBoth || !p.anyCaller):
		return addressCondition(PartRemote, r)
	case p.anyCaller:
		return anyone
	}
	return addressCondition(PartSource, r)
}

// addressCondition returns the first and the last address of a range, and
// those beside it.
func addressCondition(part Part, r *corev3.CidrRange) Condition {
	c := Condition{Part: part}
	p, ok := prefix(r)
	if !ok {
		return c
	}
	first, last := p.Addr(), lastOf(p)
	for _, ip := range []netip.Addr{first, last, last.Next(), first.Prev()} {
		if ip.IsValid() {
			c.add(Value{Text: ip.String()}, p.Contains(ip))
		}
	}
	return c
}

// lastOf returns the last address of a range.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	ip, _ := netip.AddrFromSlice(b) // as long as the slice of an address
	return ip
}
