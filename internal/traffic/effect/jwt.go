package effect

import (
	"cmp"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	jwtv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/jwt_authn/v3"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
	"mizzen.dev/mizzen/internal/traffic/match"
)

// jwt tells which tokens are asked for or believed, and what is passed on of
// them.
func (c *comparison) jwt() {
	for _, name := range sortedKeys(c.after.proxies) {
		b, a := c.before.proxies[name], c.after.proxies[name]
		if b == nil || c.hash.inbound(b) == c.hash.inbound(a) {
			continue
		}
		x, y := tokens(b), tokens(a)
		believed, believes := x.words(beliefs), y.words(beliefs)
		passed, passes := x.words(passedOn(y)), y.words(passedOn(x))
		before, after := changed(slices.Concat(believed, passed), slices.Concat(believes, passes))
		if before == after {
			continue
		}
		before, after = orNoTokens(x, before), orNoTokens(y, after)
		f := found{
			code: mizzen.EffectJWT, impact: mizzen.ImpactWarning, subjects: []string{name}, namespace: a.Workload.Namespace,
			message: "which tokens are believed changes", before: before, after: after, group: a.Workload.Namespace,
			cause: c.policyFor("RequestAuthentication", a.Workload, hints{"jwtRules"}),
		}
		switch {
		case len(x) == 0:
			f.impact, f.message = mizzen.ImpactNotice, "tokens are checked: one that is not valid is refused"
		case len(y) == 0:
			f.impact, f.message = mizzen.ImpactDanger, "tokens are no longer checked"
		case slices.Equal(believed, believes):
			f.message = "what servers are told of tokens changes"
		}
		f.witness = c.tokenWitness(b, a, x, y)
		c.out.add(f)
	}
}

func orNoTokens(p providers, words string) string {
	if len(p) == 0 {
		return "no tokens are looked at"
	}
	return words
}

// tokenWitness is a request with a token that one side refuses and the other
// lets pass; nil if there is none, as where policies refuse it anyway.
func (c *comparison) tokenWitness(b, a *traffic.Proxy, x, y providers) *mizzen.Witness {
	for _, d := range c.tokenDoors(b, a) {
		for _, t := range x.probes(y) {
			call := match.Call{Request: match.Request{Method: http.MethodGet, Path: "/", Host: d.host, Token: &t}}
			call.Peer.Source = netip.AddrPortFrom(fromAnywhere, 40000)
			identities := [2]string{}
			if d.plain[0] == nil {
				identities = d.from.identities
			}
			v := [2]match.Verdict{d.hears(0, call, identities[0]), d.hears(1, call, identities[1])}
			if (v[0].Decision == match.Denied) == (v[1].Decision == match.Denied) || !v[0].ByToken && !v[1].ByToken {
				continue
			}
			w := &mizzen.Witness{From: outside, Method: http.MethodGet, URL: d.url, Before: tokenFate(v[0], x), After: tokenFate(v[1], y)}
			if d.plain[0] == nil {
				w.From = d.from.one()
			}
			if bear(w, &t); !t.Valid {
				setHeader(w, "Authorization", "Bearer not-a-token")
			}
			if d.host != anyHost {
				setHeader(w, "Host", d.host)
			}
			return w
		}
	}
	return nil
}

// tokenFate tells what becomes of a request with a token.
func tokenFate(v match.Verdict, p providers) string {
	switch {
	case v.ByToken:
		return fmt.Sprintf("%d %s", v.Status, http.StatusText(v.Status))
	case v.Decision != match.Allowed:
		return verdictWords(v)
	case len(p) == 0:
		return "the token is not looked at"
	}
	return "the token is believed"
}

// tokenDoor is a way to where tokens are looked at, who comes by it where only
// the mesh's mTLS is taken, and the URL.
type tokenDoor struct {
	door
	from caller
	url  string
}

// tokenDoors returns the ways to a proxy that look at requests otherwise than
// before, ports that Services name first.
func (c *comparison) tokenDoors(b, a *traffic.Proxy) []tokenDoor {
	var out []tokenDoor
	from := c.ofWorkloads(a.Role == traffic.Waypoint)
	add := func(d door, url string) {
		if d.plain[0] == nil && len(from) == 0 || !d.http() {
			return
		}
		t := tokenDoor{door: d, url: url}
		if len(from) > 0 {
			t.from = from[0]
		}
		out = append(out, t)
	}
	if a.Role == traffic.Waypoint {
		before, after := servedChains(b, ""), servedChains(a, "")
		for _, name := range sortedKeys(after) {
			n, _ := parseCluster(name)
			if d, ok := c.servedDoor(name, before[name], after[name]); ok && before[name] != nil {
				add(d, "http://"+n.subject()+"/")
			}
		}
		return out
	}
	doors := c.doors(b, a)
	slices.SortStableFunc(doors, func(x, y door) int { return cmp.Compare(btoi(x.port == others), btoi(y.port == others)) })
	for _, d := range doors {
		url := "http://" + a.Name
		if d.port != others {
			url += fmt.Sprintf(":%d", d.port)
		}
		add(d, url+"/")
	}
	return out
}

// providers are the issuers that a proxy believes, by name.
type providers map[string]*jwtv3.JwtProvider

// words tells one aspect of each.
func (p providers) words(aspect func(*jwtv3.JwtProvider) (name, words string)) fields {
	var f fields
	for _, issuer := range sortedKeys(p) {
		f.set(aspect(p[issuer]))
	}
	return f
}

// probes are tokens that may fare otherwise with other issuers: one of an issuer
// that only one side believes, and one that is none.
func (p providers) probes(now providers) []match.Token {
	var out []match.Token
	for _, issuer := range union(p, now) {
		if (p[issuer] == nil) != (now[issuer] == nil) && len(p)*len(now) > 0 {
			one := cmp.Or(p[issuer], now[issuer])
			if len(one.GetFromHeaders())+len(one.GetFromParams())+len(one.GetFromCookies()) == 0 {
				out = append(out, match.Token{Issuer: issuer, Subject: match.Somebody, Audiences: one.GetAudiences(), Valid: true})
			}
		}
	}
	return append(out, match.Token{})
}

// issued is a token that a rule asks something of, from an issuer that a proxy
// believes, so that it comes to the rule.
func (c *comparison) issued(t *match.Token, proxy string) *match.Token {
	if t == nil || t.Issuer != "" {
		return t
	}
	for _, side := range []int{1, 0} {
		known := c.tokensOf(side, proxy)
		for _, issuer := range sortedKeys(known) {
			out := *t
			out.Issuer, out.Audiences = issuer, known[issuer].GetAudiences()
			out.Subject = cmp.Or(out.Subject, match.Somebody)
			return &out
		}
	}
	return t
}

// tokensOf returns the issuers that a proxy of a side believes, and remembers
// them.
func (c *comparison) tokensOf(side int, proxy string) providers {
	key := fmt.Sprint(side, proxy)
	known, ok := c.issuers[key]
	if !ok {
		known = tokens(c.side(side).proxies[proxy])
		c.issuers[key] = known
	}
	return known
}

// tokens returns the issuers that a proxy believes.
func tokens(p *traffic.Proxy) providers {
	out := providers{}
	for _, l := range accepted(p).Inbound {
		for _, chain := range chains(l) {
			for _, f := range httpManager(chain).GetHttpFilters() {
				config, ok := unpack(f.GetTypedConfig(), &jwtv3.JwtAuthentication{})
				if !ok {
					continue
				}
				for _, provider := range config.GetProviders() {
					out[provider.GetIssuer()] = provider
				}
			}
		}
	}
	return out
}

// beliefs tells which tokens of an issuer are believed, and where they are.
func beliefs(p *jwtv3.JwtProvider) (name, words string) {
	out := []string{"for any audience"}
	if audiences := p.GetAudiences(); len(audiences) > 0 {
		out[0] = "for " + list(distinct(slices.Clone(audiences)), 4)
	}
	for _, h := range p.GetFromHeaders() {
		out = append(out, strings.TrimSpace("in header "+h.GetName()+" "+h.GetValuePrefix()))
	}
	for _, q := range p.GetFromParams() {
		out = append(out, "in parameter "+q)
	}
	for _, k := range p.GetFromCookies() {
		out = append(out, "in cookie "+k)
	}
	return "issuer " + p.GetIssuer(), strings.Join(append(out, keys(p)), ", ")
}

// passedOn tells what servers, and rules, get to know of the tokens of an
// issuer; that it is nothing only where the other side believes it too.
func passedOn(other providers) func(p *jwtv3.JwtProvider) (name, words string) {
	return func(p *jwtv3.JwtProvider) (name, words string) {
		var out []string
		if p.GetForward() {
			out = append(out, "the token")
		}
		if h := p.GetForwardPayloadHeader(); h != "" {
			out = append(out, "all claims in header "+h)
		}
		for _, h := range p.GetClaimToHeaders() {
			out = append(out, "claim "+h.GetClaimName()+" in header "+h.GetHeaderName())
		}
		if claims := p.GetNormalizePayloadInMetadata().GetSpaceDelimitedClaims(); !slices.Equal(claims, usualLists) && len(claims) > 0 {
			out = append(out, "lists in claims "+strings.Join(claims, " and "))
		}
		if len(out) == 0 && other[p.GetIssuer()] != nil {
			out = []string{"nothing"}
		}
		return "tokens of " + p.GetIssuer() + " tell servers", strings.Join(out, ", ")
	}
}

// usualLists are the claims that istiod reads as lists unasked.
var usualLists = []string{"permission", "scope"}

// keys tells where the keys of an issuer come from, without showing them.
func keys(p *jwtv3.JwtProvider) string {
	if uri := p.GetRemoteJwks().GetHttpUri().GetUri(); uri != "" {
		return "keys of " + uri
	}
	if _, inline := p.GetLocalJwks().GetSpecifier().(*corev3.DataSource_InlineString); inline {
		return "keys #" + fingerprint(p.GetLocalJwks().GetInlineString())
	}
	return "keys of a file"
}
