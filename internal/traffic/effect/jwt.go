package effect

import (
	"net/http"
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
		before, after = orNoTokens(x, before), orNoTokens(y, after)
		f := found{
			code: mizzen.EffectJWT, impact: mizzen.ImpactWarning, subjects: []string{name}, namespace: a.Workload.Namespace,
			message: "which tokens are believed changes", before: before, after: after, group: a.Workload.Namespace,
			cause: c.policyFor("RequestAuthentication", a.Workload, hints{"jwtRules"}),
		}
		side := a
		switch {
		case len(x) == 0:
			f.impact, f.message = mizzen.ImpactNotice, "tokens are checked: one that is not valid is refused"
		case len(y) == 0:
			f.impact, f.message = mizzen.ImpactDanger, "tokens are no longer checked"
			side = b
		}
		if f.witness = tokenWitness(x, y); f.witness != nil {
			f.witness.From, f.witness.URL = c.bearer(side)
		}
		c.out.add(f)
	}
}

func orNoTokens(f fields, words string) string {
	if len(f) == 0 {
		return "no tokens are looked at"
	}
	return words
}

// tokenWitness is a request with a token that fares otherwise where other
// issuers are believed; nil if these are the same. Who sends it, and where to,
// is left open.
func tokenWitness(b, a fields) *mizzen.Witness {
	const ignored, believed, refused = "the token is not looked at", "the token is believed", "401 Unauthorized"
	with := func(token, before, after string) *mizzen.Witness {
		return &mizzen.Witness{Method: http.MethodGet, Headers: map[string]string{"Authorization": "Bearer " + token}, Before: before, After: after}
	}
	only := func(in, notIn fields) string {
		for _, f := range in {
			if issuer, ok := strings.CutPrefix(f.name, issuerOf); ok && notIn.get(f.name) == "" && !strings.Contains(f.value, " in ") {
				return "a token of " + issuer + "/somebody"
			}
		}
		return ""
	}
	gone, come := only(b, a), only(a, b)
	switch {
	case len(b) == 0:
		return with("not-a-token", ignored, refused)
	case len(a) == 0:
		return with("not-a-token", refused, ignored)
	case gone != "":
		return with(gone, believed, refused)
	case come != "":
		return with(come, refused, believed)
	}
	return nil
}

// issuerOf begins the name of the field about an issuer.
const issuerOf = "issuer "

// bearer is who sends a token to a proxy, and the URL. At a waypoint it is a
// caller of a host that asks for tokens.
func (c *comparison) bearer(p *traffic.Proxy) (from, url string) {
	anyone := "http://" + p.Name + "/"
	if p.Role != traffic.Waypoint {
		return "outside", anyone
	}
	served := servedChains(p, "")
	for _, name := range sortedKeys(served) {
		for _, f := range httpManager(served[name]).GetHttpFilters() {
			if n, ok := parseCluster(name); ok && f.GetConfigDiscovery() == nil && strings.HasSuffix(f.GetTypedConfig().GetTypeUrl(), ".JwtAuthentication") {
				return c.ambient(p.Name)[0], "http://" + n.subject() + "/"
			}
		}
	}
	return "outside", anyone
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
					byIssuer[issuerOf+provider.GetIssuer()] = providerWords(provider)
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
