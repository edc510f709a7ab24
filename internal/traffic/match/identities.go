package match

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// Identities are the conditions by which the policies of filter chains tell
// callers apart: who they are, and where they call from.
type Identities struct {
	matchers []*matcherv3.StringMatcher
	blocks   []netip.Prefix
	// direct and remote: there are blocks for the connection's address, and for
	// that which a header may tell.
	direct, remote bool
}

// IdentitiesOf collects the conditions of all policies, those in dry run
// included.
func IdentitiesOf(stacks ...*Stack) *Identities {
	out := &Identities{}
	seen := map[string]bool{}
	for _, s := range stacks {
		if s == nil {
			continue
		}
		for _, g := range slices.Concat(s.network, s.http) {
			for _, p := range g.principals() {
				out.collect(p, seen, 0)
			}
		}
	}
	slices.SortFunc(out.blocks, func(a, b netip.Prefix) int {
		return cmp.Or(cmp.Compare(b.Bits(), a.Bits()), a.Addr().Compare(b.Addr()))
	})
	out.blocks = slices.Compact(out.blocks)
	return out
}

// principals are those of every policy of a filter.
func (g *guard) principals() []*rbacv3.Principal {
	if g.rbac == nil {
		return nil
	}
	var out []*rbacv3.Principal
	for _, r := range []*ruleset{g.rbac.enforced, g.rbac.shadow} {
		if r == nil {
			continue
		}
		for _, name := range r.names {
			out = append(out, r.Policies[name].GetPrincipals()...)
		}
	}
	return out
}

func (d *Identities) collect(x *rbacv3.Principal, seen map[string]bool, depth int) {
	if depth > maxTreeDepth {
		return
	}
	var subs []*rbacv3.Principal
	switch i := x.GetIdentifier().(type) {
	case *rbacv3.Principal_AndIds:
		subs = i.AndIds.GetIds()
	case *rbacv3.Principal_OrIds:
		subs = i.OrIds.GetIds()
	case *rbacv3.Principal_NotId:
		subs = []*rbacv3.Principal{i.NotId}
	case *rbacv3.Principal_Authenticated_:
		d.add(i.Authenticated.GetPrincipalName(), seen)
	case *rbacv3.Principal_FilterState:
		d.add(i.FilterState.GetStringMatch(), seen)
	default:
		d.addBlock(x)
	}
	for _, sub := range subs {
		d.collect(sub, seen, depth+1)
	}
}

// addBlock takes the addresses that a principal asks for, if it does.
func (d *Identities) addBlock(x *rbacv3.Principal) {
	r := addressRange(x)
	if r == nil {
		return
	}
	if p, ok := prefix(r); ok {
		d.blocks = append(d.blocks, p)
	}
	_, remote := x.GetIdentifier().(*rbacv3.Principal_RemoteIp)
	d.remote, d.direct = d.remote || remote, d.direct || !remote
}

func (d *Identities) add(m *matcherv3.StringMatcher, seen map[string]bool) {
	if m == nil {
		return // it takes everyone who has an identity
	}
	if key := m.String(); !seen[key] {
		seen[key] = true
		d.matchers = append(d.matchers, m)
	}
}

// both reports whether policies ask for the address of a connection and for
// that which a header may tell.
func (d *Identities) both() bool { return d.direct && d.remote }

// TellApart reports whether a policy asks who calls.
func (d *Identities) TellApart() bool { return len(d.matchers) > 0 }

// Key is the same for identities that no policy tells apart.
func (d *Identities) Key(identity string) string {
	out := make([]byte, (len(d.matchers)+7)/8)
	for i, m := range d.matchers {
		if matchString(m, spiffe+identity) {
			out[i/8] |= 1 << (i % 8)
		}
	}
	return string(out)
}

// Identity is a SPIFFE ID as Istio gives them, in its parts.
type Identity struct{ TrustDomain, Namespace, Account string }

// ParseIdentity reads "cluster.local/ns/shop/sa/web". What is not there is "".
func ParseIdentity(text string) Identity {
	domain, _, _ := strings.Cut(text, "/")
	_, rest, _ := strings.Cut(text, "/ns/")
	namespace, _, _ := strings.Cut(rest, "/")
	_, account, _ := strings.Cut(text, "/sa/")
	return Identity{domain, namespace, account}
}

func (i Identity) String() string { return i.TrustDomain + "/ns/" + i.Namespace + "/sa/" + i.Account }

// Named returns an identity for each thing that policies name: a principal, a
// namespace, a service account, a trust domain. What a pattern leaves open is as
// in anybody, so that it shows what is named. They are sorted.
func (d *Identities) Named(anybody Identity) []Identity {
	var out []Identity
	for _, m := range d.matchers {
		for _, text := range tries(m) {
			if id, ok := complete(m, strings.TrimPrefix(text, spiffe), anybody); ok {
				out = append(out, id)
			}
		}
	}
	slices.SortFunc(out, func(a, b Identity) int { return cmp.Compare(a.String(), b.String()) })
	return slices.Compact(out)
}

// complete makes an identity of a text, with as much of anybody as the matcher
// takes; ok is false if it takes none of it.
func complete(m *matcherv3.StringMatcher, text string, anybody Identity) (id Identity, ok bool) {
	takes := func(i Identity) bool { return matchString(m, spiffe+i.String()) }
	id = ParseIdentity(text)
	id = Identity{cmp.Or(id.TrustDomain, anybody.TrustDomain), cmp.Or(id.Namespace, anybody.Namespace), cmp.Or(id.Account, anybody.Account)}
	for _, part := range []struct {
		of *string
		to string
	}{{&id.TrustDomain, anybody.TrustDomain}, {&id.Namespace, anybody.Namespace}, {&id.Account, anybody.Account}} {
		was := *part.of
		if *part.of = part.to; !takes(id) {
			*part.of = was
		}
	}
	return id, takes(id) && !strings.ContainsAny(id.Account, "/")
}

// Block is a set of addresses that no policy tells apart.
type Block struct {
	// Prefix is the smallest block of a policy that they are in; the zero value
	// for those that are in none.
	Prefix netip.Prefix
	// Without are the blocks of policies within it, which they are not in.
	Without []netip.Prefix
	// Address is one of them.
	Address netip.Addr
}

// Blocks returns the sets into which the blocks of the policies part all
// addresses: those in none of them first, then by size. base is taken for an
// address of a set where it is in it.
func (d *Identities) Blocks(base netip.Addr) []Block {
	out := []Block{}
	for _, p := range append([]netip.Prefix{{}}, d.blocks...) {
		b := Block{Prefix: p}
		for _, inner := range d.blocks {
			if inner != p && (!p.IsValid() || p.Bits() < inner.Bits() && p.Contains(inner.Addr())) && d.outermost(inner, p) {
				b.Without = append(b.Without, inner)
			}
		}
		if b.Address = d.inside(b, base); b.Address.IsValid() {
			out = append(out, b)
		}
	}
	return out
}

// outermost tells whether a block lies in no other one that lies within p.
func (d *Identities) outermost(inner, p netip.Prefix) bool {
	return !slices.ContainsFunc(d.blocks, func(x netip.Prefix) bool {
		return x != inner && x != p && x.Bits() < inner.Bits() && x.Contains(inner.Addr()) && (!p.IsValid() || p.Bits() < x.Bits() && p.Contains(x.Addr()))
	})
}

// inside returns an address that is in a block, and in none within it: base, or
// one like a host has, or one at an edge.
func (d *Identities) inside(b Block, base netip.Addr) netip.Addr {
	tries := []netip.Addr{base}
	if b.Prefix.IsValid() {
		first, last := b.Prefix.Masked().Addr(), lastOf(b.Prefix.Masked())
		tries = append(tries, first.Next(), first, last.Prev(), last)
	} else {
		tries = append(tries, netip.AddrFrom4([4]byte{198, 51, 100, 1}), netip.AddrFrom4([4]byte{10, 0, 0, 1}))
	}
	for _, w := range b.Without {
		tries = append(tries, lastOf(w.Masked()).Next(), w.Masked().Addr().Prev())
	}
	for _, ip := range tries {
		in := func(p netip.Prefix) bool { return p.Contains(ip) }
		if ip.IsValid() && (!b.Prefix.IsValid() || in(b.Prefix)) && !slices.ContainsFunc(b.Without, in) {
			return ip
		}
	}
	return netip.Addr{}
}

// Trusts tells whether the filter chain takes the certificate of an identity,
// whatever the policies say: one of a trust domain that the mesh does not know
// ends the handshake.
func (s *Stack) Trusts(identity string) bool {
	check := s.TLS.GetCommonTlsContext().GetCombinedValidationContext().GetDefaultValidationContext()
	names := check.GetMatchSubjectAltNames() //nolint:staticcheck // istiod writes this field
	if len(names) == 0 {
		return true
	}
	return slices.ContainsFunc(names, func(m *matcherv3.StringMatcher) bool { return matchString(m, spiffe+identity) })
}
