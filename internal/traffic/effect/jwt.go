package effect

import (
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	jwtv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/jwt_authn/v3"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
)

// jwt tells which tokens are asked for or believed.
func (c *comparison) jwt() {
	for _, name := range sortedKeys(c.after.proxies) {
		b, a := c.before.proxies[name], c.after.proxies[name]
		if b == nil || c.hash.inbound(b) == c.hash.inbound(a) {
			continue
		}
		x, y := tokens(b), tokens(a)
		before, after := changed(x, y)
		if before == after {
			continue
		}
		if len(x) == 0 {
			before = "no tokens are looked at"
		}
		if len(y) == 0 {
			after = "no tokens are looked at"
		}
		f := found{
			code: mizzen.EffectJWT, impact: mizzen.ImpactWarning, subjects: []string{name}, namespace: a.Workload.Namespace,
			message: "which tokens are believed changes", before: before, after: after, group: a.Workload.Namespace,
			cause: c.policyFor("RequestAuthentication", a.Workload, hints{"jwtRules"}),
		}
		if len(x) > 0 && len(y) == 0 {
			f.impact, f.message = mizzen.ImpactDanger, "tokens are no longer checked"
		}
		if len(x) == 0 {
			f.impact, f.message = mizzen.ImpactNotice, "tokens are checked: one that is not valid is refused"
			f.witness = &mizzen.Witness{
				From: "outside", Method: "GET", URL: "http://" + name + "/", Headers: map[string]string{"Authorization": "Bearer not-a-token"},
				Before: "the token is not looked at", After: "401 Unauthorized",
			}
		}
		c.out.add(f)
	}
}

// tokens tells the issuers that a proxy believes, and where it looks.
func tokens(p *traffic.Proxy) fields {
	byIssuer := map[string]string{}
	for _, l := range accepted(p).Inbound {
		for _, chain := range chains(l) {
			for _, f := range httpManager(chain).GetHttpFilters() {
				config, ok := unpack(f.GetTypedConfig(), &jwtv3.JwtAuthentication{})
				if !ok {
					continue
				}
				for _, provider := range config.GetProviders() {
					byIssuer["issuer "+provider.GetIssuer()] = providerWords(provider)
				}
			}
		}
	}
	var f fields
	for _, issuer := range sortedKeys(byIssuer) {
		f.set(issuer, byIssuer[issuer])
	}
	return f
}

func providerWords(p *jwtv3.JwtProvider) string {
	out := []string{"for any audience"}
	if audiences := p.GetAudiences(); len(audiences) > 0 {
		out[0] = "for " + list(distinct(slices.Clone(audiences)), 4)
	}
	for _, h := range p.GetFromHeaders() {
		out = append(out, "in header "+h.GetName())
	}
	for _, q := range p.GetFromParams() {
		out = append(out, "in parameter "+q)
	}
	for _, k := range p.GetFromCookies() {
		out = append(out, "in cookie "+k)
	}
	if p.GetForward() {
		out = append(out, "passed on")
	}
	if h := p.GetForwardPayloadHeader(); h != "" {
		out = append(out, "claims in header "+h)
	}
	out = append(out, keys(p))
	return strings.Join(out, ", ")
}

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
