package effect

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic/match"
)

// outside is the caller of a witness that no workload is.
const outside = "outside"

func setHeader(w *mizzen.Witness, name, value string) {
	if w.Headers == nil {
		w.Headers = map[string]string{}
	}
	w.Headers[name] = value
}

// bear adds the token of a request to a witness.
func bear(w *mizzen.Witness, t *match.Token) {
	if t == nil {
		return
	}
	if t.Issuer != "" {
		setHeader(w, "Authorization", strings.TrimSuffix("Bearer a token of "+t.Issuer+"/"+t.Subject, "/"))
	}
	if w.Claims = claimsOf(t); !t.Valid {
		w.Claims = nil
	}
}

// claimsOf returns all claims of a token, as JSON has them.
func claimsOf(t *match.Token) map[string]any {
	out := maps.Clone(t.Claims)
	if out == nil {
		out = map[string]any{}
	}
	if t.Issuer != "" {
		out["iss"] = t.Issuer
	}
	if t.Subject != "" {
		out["sub"] = t.Subject
	}
	switch len(t.Audiences) {
	case 0:
	case 1:
		out["aud"] = t.Audiences[0]
	default:
		out["aud"] = t.Audiences
	}
	return out
}

// tokenWords tells a token: who issued it to whom, and the claims that a rule
// asks for.
func tokenWords(t *match.Token) string {
	words := "a token"
	if of := strings.Trim(t.Issuer+"/"+t.Subject, "/"); of != "" {
		words += " of " + of
	}
	var claims []string
	for _, name := range slices.Sorted(maps.Keys(t.Claims)) {
		claims = append(claims, claimWords(name, t.Claims[name])...)
	}
	if len(claims) > 0 {
		words += " with " + strings.Join(claims, " and ")
	}
	return words
}

// claimWords tells a claim, and those within it by their paths.
func claimWords(path string, value any) []string {
	if inner, ok := value.(map[string]any); ok {
		var out []string
		for _, name := range slices.Sorted(maps.Keys(inner)) {
			out = append(out, claimWords(path+"."+name, inner[name])...)
		}
		return out
	}
	switch v := value.(type) {
	case string:
		return []string{path + " " + v}
	case []string:
		return []string{path + " " + strings.Join(v, ", ")} // to a policy one in a list is as good
	}
	return []string{path + " " + asJSON(value)}
}

// asJSON writes what a claim can be, which always encodes.
func asJSON(value any) string {
	b, err := json.Marshal(value)
	if err != nil {
		return ""
	}
	return string(b)
}

// somebody tells whether a token is of a subject that a rule names, rather than
// of anybody.
func somebody(r match.Request) bool { return r.Token != nil && r.Token.Subject != match.Somebody }

// claimed is how much a token says; a list counts more than a text.
func claimed(r match.Request) int {
	if r.Token == nil {
		return 0
	}
	return len(asJSON(claimsOf(r.Token)))
}
