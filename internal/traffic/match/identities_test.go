package match

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// callersOnly is a filter chain with a policy that asks for callers.
func callersOnly(t *testing.T, principals ...string) *Stack {
	t.Helper()
	return httpStack(t, "", httpRBAC("ALLOW", "p: "+policy("{any: true}", strings.Join(append(principals, "{notId: {any: true}}"), ", "))))
}

// TestNamed holds that each thing that a policy names becomes an identity, with
// what is left open as in nobody's.
func TestNamed(t *testing.T) {
	nobody := Identity{TrustDomain: "td", Namespace: "any", Account: "any"}
	for _, c := range []struct{ kind, text, want string }{
		{"exact", "spiffe://td/ns/billing/sa/api", "td/ns/billing/sa/api"},
		{"exact", "spiffe://evil/ns/billing/sa/api", "evil/ns/billing/sa/api"},
		{"prefix", "spiffe://td/ns/billing/", "td/ns/billing/sa/any"},
		{"prefix", "spiffe://evil/", "evil/ns/any/sa/any"},
		{"prefix", "spiffe://", "td/ns/any/sa/any"},
		{"suffix", "/sa/api", "td/ns/any/sa/api"},
		{"safeRegex", ".*/ns/billing/.*", "td/ns/billing/sa/any"},
		{"safeRegex", "spiffe://.+/ns/billing/(.+/|)sa/api(/.+)?", "td/ns/billing/sa/api"},
	} {
		matcher := c.kind + ": '" + c.text + "'"
		if c.kind == "safeRegex" {
			matcher = c.kind + ": {regex: '" + c.text + "'}"
		}
		d := IdentitiesOf(callersOnly(t, "{authenticated: {principalName: {"+matcher+"}}}"))
		var got []string
		for _, id := range d.Named(nobody) {
			got = append(got, id.String())
		}
		if len(got) == 0 || got[0] != c.want && got[len(got)-1] != c.want {
			t.Errorf("%s %s: %v, want %s", c.kind, c.text, got, c.want)
		}
		if d.Key(c.want) == d.Key("td/ns/other/sa/other") && c.text != "spiffe://" {
			t.Errorf("%s %s does not tell %s from others", c.kind, c.text, c.want)
		}
	}
}

// TestBlocks holds that blocks part all addresses, and that each part has one
// that is in no other.
func TestBlocks(t *testing.T) {
	base := netip.MustParseAddr("192.0.2.1")
	for _, c := range []struct {
		blocks string
		want   []string
	}{
		{"", []string{"rest 192.0.2.1"}},
		{"10.0.0.0/8", []string{"rest 192.0.2.1", "10.0.0.0/8 10.0.0.1"}},
		{"10.0.0.0/8 10.1.0.0/16 10.1.2.0/24", []string{
			"rest 192.0.2.1", "10.1.2.0/24 10.1.2.1", "10.1.0.0/16 10.1.0.1 without 10.1.2.0/24", "10.0.0.0/8 10.0.0.1 without 10.1.0.0/16",
		}},
		{"192.0.2.0/24", []string{"rest 198.51.100.1", "192.0.2.0/24 192.0.2.1"}},
		{"0.0.0.0/0 ::/0", []string{"0.0.0.0/0 192.0.2.1", "::/0 ::1"}},
		{"10.0.0.0/31 10.0.0.0/32", []string{"rest 192.0.2.1", "10.0.0.0/32 10.0.0.0", "10.0.0.0/31 10.0.0.1 without 10.0.0.0/32"}},
		{"10.0.0.0/31 10.0.0.0/32 10.0.0.1/32", []string{"rest 192.0.2.1", "10.0.0.0/32 10.0.0.0", "10.0.0.1/32 10.0.0.1"}},
	} {
		var who []string
		for text := range strings.FieldsSeq(c.blocks) {
			p := netip.MustParsePrefix(text)
			who = append(who, fmt.Sprintf("{directRemoteIp: {addressPrefix: '%s', prefixLen: %d}}", p.Addr(), p.Bits()))
		}
		var got []string
		for _, b := range IdentitiesOf(callersOnly(t, who...)).Blocks(base) {
			words := "rest"
			if b.Prefix.IsValid() {
				words = b.Prefix.String()
			}
			words += " " + b.Address.String()
			for _, w := range b.Without {
				if b.Prefix.IsValid() {
					words += " without " + w.String()
				}
			}
			got = append(got, words)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.blocks, diff)
		}
	}
}
