package trial

import (
	"math/rand/v2"
	"slices"
	"strings"

	"mizzen.dev/mizzen/internal/traffic/match"
	"mizzen.dev/mizzen/test/oracle/internal/generate"
)

// witnesses returns up to n of the requests that Effects are proven with, spread
// over all of a target's configuration. Those with a token are left to calls,
// and those with a pseudo header among the others, which no client sends, out.
func witnesses(t *Target, rnd *rand.Rand, n int) []generate.Request {
	var all []match.Request
	candidates, _ := match.Candidates(match.CandidateOptions{Max: maxWitnesses}, t.Config)
	for _, c := range candidates {
		pseudo := slices.ContainsFunc(c.Headers, func(h match.Header) bool { return strings.HasPrefix(h.Name, ":") })
		if c.Token == nil && !pseudo {
			all = append(all, c)
		}
	}
	var out []generate.Request
	for i := range min(n, len(all)) {
		c := all[i*len(all)/min(n, len(all))]
		r := generate.Request{Method: c.Method, Path: c.Path, Host: c.Host, Bucket: rnd.Uint32N(1_000_000)}
		for _, h := range c.Headers {
			r.Header = append(r.Header, [2]string{h.Name, h.Value})
		}
		out = append(out, r)
	}
	return out
}

// maxWitnesses bounds what is made to choose from.
const maxWitnesses = 500
