package match

import (
	"maps"
	"slices"
	"strings"

	jwtv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/jwt_authn/v3"
)

// tokenState is what a requirement says of the token of a request.
type tokenState int

// What becomes of a token, in the order in which a group of alternatives
// prefers one failure over the other.
const (
	tokenOK tokenState = iota
	tokenMissing
	tokenOtherIssuer
	tokenInvalid
	tokenOtherAudience
)

// Status and Why of a request whose token is not accepted.
var tokenRefusals = map[tokenState]struct {
	status int
	why    string
}{
	tokenMissing:       {401, "there is no token, and one is required"},
	tokenOtherIssuer:   {401, "the token is of an issuer that nobody trusts"},
	tokenInvalid:       {401, "the token is not valid"},
	tokenOtherAudience: {403, "the token is for another audience"},
}

// jwtCheck evaluates a JWT filter for one request.
type jwtCheck struct {
	config *jwtv3.JwtAuthentication
	token  *Token
	// found are the claims that a provider accepted, by where it leaves them.
	found map[string]any
}

// run returns what the filter says: the requirement of the first rule that
// matches, if there is one.
func (j *jwtCheck) run(req *Request) tokenState {
	if j.config.GetBypassCorsPreflight() && req.preflight() {
		return tokenOK
	}
	for _, rule := range j.config.GetRules() {
		if _, holds := matchRoute(rule.GetMatch(), req, req.anonymous()); holds != yes {
			continue
		}
		requires := rule.GetRequires()
		if name := rule.GetRequirementName(); name != "" {
			requires = j.config.GetRequirementMap()[name]
		}
		return j.requirement(requires, nil, 0)
	}
	return tokenOK
}

// requirement evaluates one node. Siblings are the providers of the group that
// it is in: they are what a token that may be missing is checked against.
func (j *jwtCheck) requirement(r *jwtv3.JwtRequirement, siblings []string, depth int) tokenState {
	if depth > maxTreeDepth {
		return tokenInvalid
	}
	switch x := r.GetRequiresType().(type) {
	case *jwtv3.JwtRequirement_ProviderName:
		return j.provider(x.ProviderName, nil)
	case *jwtv3.JwtRequirement_ProviderAndAudiences:
		return j.provider(x.ProviderAndAudiences.GetProviderName(), x.ProviderAndAudiences.GetAudiences())
	case *jwtv3.JwtRequirement_RequiresAny:
		return j.anyOf(x.RequiresAny.GetRequirements(), depth)
	case *jwtv3.JwtRequirement_RequiresAll:
		for _, sub := range x.RequiresAll.GetRequirements() {
			if s := j.requirement(sub, nil, depth+1); s != tokenOK {
				return s
			}
		}
		return tokenOK
	case *jwtv3.JwtRequirement_AllowMissing:
		return j.allowMissing(siblings)
	}
	return tokenOK // allow_missing_or_failed, or nothing that is required
}

// anyOf accepts what one alternative accepts; those that let a request pass
// without a token come last. Of failures, one that looked at the token counts
// more than one that found none or none of its issuer.
func (j *jwtCheck) anyOf(alternatives []*jwtv3.JwtRequirement, depth int) tokenState {
	var regular, bypass []*jwtv3.JwtRequirement
	var providers []string
	for _, a := range alternatives {
		switch x := a.GetRequiresType().(type) {
		case *jwtv3.JwtRequirement_AllowMissing, *jwtv3.JwtRequirement_AllowMissingOrFailed:
			bypass = append(bypass, a)
			continue
		case *jwtv3.JwtRequirement_ProviderName:
			providers = append(providers, x.ProviderName)
		case *jwtv3.JwtRequirement_ProviderAndAudiences:
			providers = append(providers, x.ProviderAndAudiences.GetProviderName())
		}
		regular = append(regular, a)
	}
	worst := tokenMissing
	for _, a := range append(regular, bypass...) {
		switch s := j.requirement(a, providers, depth+1); {
		case s == tokenOK:
			return tokenOK
		case s > tokenOtherIssuer || worst == tokenMissing:
			worst = s
		}
	}
	return worst
}

func (j *jwtCheck) provider(name string, audiences []string) tokenState {
	p := j.config.GetProviders()[name]
	if len(audiences) == 0 {
		audiences = p.GetAudiences()
	}
	switch {
	case j.token == nil:
		return tokenMissing
	case p.GetIssuer() != "" && p.GetIssuer() != j.token.Issuer:
		return tokenOtherIssuer
	case !j.token.Valid:
		return tokenInvalid
	case len(audiences) > 0 && !slices.ContainsFunc(j.token.Audiences, func(a string) bool { return slices.Contains(audiences, a) }):
		return tokenOtherAudience
	}
	j.accept(p)
	return tokenOK
}

// allowMissing lets a request without a token pass; a token that is there has
// to be accepted by one of the providers.
func (j *jwtCheck) allowMissing(providers []string) tokenState {
	if j.token == nil {
		return tokenOK
	}
	if len(providers) == 0 {
		providers = slices.Sorted(maps.Keys(j.config.GetProviders()))
	}
	state := tokenOtherIssuer
	for _, name := range providers {
		if s := j.provider(name, nil); s == tokenOK || s > tokenOtherIssuer {
			return s
		}
	}
	return state
}

// accept leaves the claims where the provider puts them.
func (j *jwtCheck) accept(p *jwtv3.JwtProvider) {
	key := p.GetPayloadInMetadata()
	if key == "" {
		return
	}
	claims := j.token.Payload()
	for _, name := range p.GetNormalizePayloadInMetadata().GetSpaceDelimitedClaims() {
		if s, ok := claims[name].(string); ok && strings.Contains(s, " ") {
			claims[name] = strings.Fields(s)
		}
	}
	if j.found == nil {
		j.found = map[string]any{}
	}
	j.found[key] = claims
}
