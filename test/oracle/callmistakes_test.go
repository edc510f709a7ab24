package oracle

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"mizzen.dev/mizzen/internal/traffic/match"
	"mizzen.dev/mizzen/test/oracle/internal/generate"
	"mizzen.dev/mizzen/test/oracle/internal/trial"
)

// callMistake is a typical defect of a judge of policies, made as a mistake is:
// the right judge gets another request, peer or chain.
type callMistake struct {
	name    string
	call    func(*generate.Call)
	change  func(r *match.Request, p *match.Peer)
	stack   func(*match.Stack)
	verdict func(*match.Verdict)
}

// without returns the headers of a request without those of a name.
func without(headers []match.Header, name string) []match.Header {
	return slices.DeleteFunc(slices.Clone(headers), func(h match.Header) bool { return strings.EqualFold(h.Name, name) })
}

func onToken(change func(*match.Token)) func(*match.Request, *match.Peer) {
	return func(r *match.Request, _ *match.Peer) {
		if r.Token != nil {
			token := *r.Token
			change(&token)
			r.Token = &token
		}
	}
}

var callMistakes = []callMistake{
	{name: "knows nobody", change: func(_ *match.Request, p *match.Peer) { p.Identity = "" }},
	{name: "takes everybody for one", change: func(_ *match.Request, p *match.Peer) {
		if p.Identity != "" {
			p.Identity = "cluster.local/ns/shop/sa/web"
		}
	}},
	{name: "compares the beginning of names", change: func(_ *match.Request, p *match.Peer) { p.Identity = strings.TrimSuffix(p.Identity, "x") }},
	{name: "ignores the method", change: func(r *match.Request, _ *match.Peer) { r.Method = "GET" }},
	{name: "minds the case of hosts", change: func(r *match.Request, _ *match.Peer) {
		if strings.ToLower(r.Host) != r.Host {
			r.Host = "case.invalid"
		}
	}},
	{name: "ignores the port of hosts", change: func(r *match.Request, _ *match.Peer) { r.Host, _, _ = strings.Cut(r.Host, ":") }},
	{name: "ignores the case of paths", change: func(r *match.Request, _ *match.Peer) { r.Path = strings.ToLower(r.Path) }},
	{name: "takes the query for a part of the path", change: func(r *match.Request, _ *match.Peer) { r.Path = strings.Replace(r.Path, "?", "%3F", 1) }},
	{name: "takes a fragment for a part of the path", change: func(r *match.Request, _ *match.Peer) { r.Path = strings.Replace(r.Path, "#", "%23", 1) }},
	{name: "does not normalize paths", stack: func(s *match.Stack) { s.Options.Normalization = match.Normalization{} }},
	{name: "always merges slashes", stack: func(s *match.Stack) { s.Options.Normalization.MergeSlashes = true }},
	{name: "trusts tokens that are not valid", change: onToken(func(t *match.Token) { t.Valid = true })},
	{name: "trusts tokens of any issuer", change: onToken(func(t *match.Token) { t.Issuer = "issuer.example.com" })},
	{name: "ignores the audience of tokens", change: onToken(func(t *match.Token) { t.Audiences = []string{"shop"} })},
	{name: "ignores claims", change: onToken(func(t *match.Token) { t.Claims = nil })},
	{name: "ignores tokens", change: func(r *match.Request, _ *match.Peer) { r.Token = nil }},
	{name: "refuses requests without a token", change: func(r *match.Request, _ *match.Peer) {
		if r.Token == nil {
			r.Token = &match.Token{}
		}
	}},
	{name: "ignores X-Forwarded-For", change: func(r *match.Request, _ *match.Peer) { r.Headers = without(r.Headers, "x-forwarded-for") }},
	{name: "ignores other headers", change: func(r *match.Request, _ *match.Peer) { r.Headers = without(r.Headers, "x-tier") }},
	{name: "takes all callers for one address", change: func(_ *match.Request, p *match.Peer) {
		p.Source = netip.AddrPortFrom(netip.MustParseAddr("10.244.7.5"), p.Source.Port())
	}},
	{name: "ignores the port", change: func(_ *match.Request, p *match.Peer) {
		p.Destination = netip.AddrPortFrom(p.Destination.Addr(), 8080)
	}},
	{name: "allows what no policy allows", verdict: func(v *match.Verdict) {
		if v.Decision == match.Denied && v.Policy == "" && v.Status == 403 {
			v.Decision = match.Allowed
		}
	}},
	{name: "ignores policies that deny", verdict: func(v *match.Verdict) {
		if v.Decision == match.Denied && v.Policy != "" {
			v.Decision = match.Allowed
		}
	}},
	{name: "answers 403 to everything", verdict: func(v *match.Verdict) {
		if v.Status != 0 {
			v.Status = 403
		}
	}},
	{name: "names no policy", verdict: func(v *match.Verdict) { v.Policy = "" }},
}

func (m callMistake) judge(s *match.Stack, r match.Request, p match.Peer) match.Verdict {
	wrong := *s
	if m.change != nil {
		m.change(&r, &p)
	}
	if m.stack != nil {
		m.stack(&wrong)
	}
	v := match.Authorize(&wrong, r, p)
	if m.verdict != nil {
		m.verdict(&v)
	}
	return v
}

// testCallMistakes gives each mistake the calls that were made: one must show
// it.
func testCallMistakes(t *testing.T, mistakes []callMistake, asked []trial.CallAsked) {
	for _, m := range mistakes {
		caught := 0
		for i, a := range asked {
			if !a.Agree() {
				continue
			}
			wrong := a
			wrong.Clusters = nil
			if m.call != nil {
				m.call(&wrong.Call)
			}
			if err := a.Trial.PredictCall(&wrong, m.judge); err != nil {
				t.Fatal(err)
			}
			if !wrong.Agree() {
				caught = i + 1
				break
			}
		}
		if caught == 0 {
			t.Errorf("no call finds a judge that %s", m.name)
			continue
		}
		t.Logf("found after %5d calls: a judge that %s", caught, m.name)
	}
}
