package match

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"strconv"
	"strings"
)

// Call is a request and who makes it.
type Call struct {
	Peer    Peer
	Request Request
}

// set changes one part of a call.
func (c *Call) set(part Part, name string, v Value) {
	r := &c.Request
	switch part {
	case PartHost:
		r.Host = v.Text
	case PartPath:
		_, query := cutQuery(r.Path)
		r.Path = v.Text + query
	case PartMethod:
		r.Method = v.Text
	case PartScheme:
		r.Scheme = v.Text
	case PartHeader:
		r.setHeader(name, v)
	case PartQuery:
		r.setQuery(name, v)
	case PartCookie:
		r.setCookie(name, v)
	case PartClaim:
		r.setClaim(strings.Split(name, "."), v)
	case PartBucket:
		r.Bucket, _ = strconv.ParseUint(v.Text, 10, 64)
	default:
		c.Peer.set(part, v, r)
	}
}

func (p *Peer) set(part Part, v Value, r *Request) {
	ip, _ := netip.ParseAddr(v.Text)
	switch part {
	case PartIdentity:
		p.TLS, p.Identity = !v.Absent, v.Text
	case PartPlaintext:
		p.TLS, p.Identity = false, ""
	case PartSource:
		p.Source = netip.AddrPortFrom(ip, p.Source.Port())
	case PartRemote:
		r.setHeader("x-forwarded-for", v)
	case PartDestIP:
		p.Destination = netip.AddrPortFrom(ip, p.Destination.Port())
	case PartDestPort:
		port, _ := strconv.ParseUint(v.Text, 10, 16)
		p.Destination = netip.AddrPortFrom(p.Destination.Addr(), uint16(port))
	case PartSNI:
		p.ServerName = v.Text
	}
}

func (r *Request) setHeader(name string, v Value) {
	kept := make([]Header, 0, len(r.Headers)+1)
	for _, h := range r.Headers {
		if !strings.EqualFold(h.Name, name) {
			kept = append(kept, h)
		}
	}
	if !v.Absent {
		kept = append(kept, Header{Name: name, Value: v.Text})
	}
	r.Headers = kept
}

func (r *Request) setQuery(name string, v Value) {
	p, query := cutQuery(r.Path)
	var pairs []string
	for pair := range strings.SplitSeq(strings.TrimPrefix(query, "?"), "&") {
		if k, _, _ := strings.Cut(pair, "="); pair != "" && k != name {
			pairs = append(pairs, pair)
		}
	}
	if !v.Absent {
		pairs = append(pairs, name+"="+v.Text)
	}
	r.Path = p
	if len(pairs) > 0 {
		r.Path += "?" + strings.Join(pairs, "&")
	}
}

// setClaim sets a claim of the token, which exists from then on. The first
// claim to be set makes a token that is valid.
func (r *Request) setClaim(path []string, v Value) {
	t := &Token{Valid: true}
	if r.Token != nil {
		copied := *r.Token
		t = &copied
	}
	r.Token = t
	switch {
	case len(path) == 1 && path[0] == "iss":
		t.Issuer = v.Text
	case len(path) == 1 && path[0] == "sub":
		t.Subject = v.Text
	case len(path) == 1 && path[0] == "aud":
		t.Audiences = nil
		if !v.Absent {
			t.Audiences = []string{v.Text}
		}
	default:
		t.Claims = withClaim(t.Claims, path, v)
	}
}

// withClaim returns a copy of claims with one changed.
func withClaim(claims map[string]any, path []string, v Value) map[string]any {
	out := map[string]any{}
	maps.Copy(out, claims)
	if len(path) > 1 {
		inner, _ := out[path[0]].(map[string]any)
		out[path[0]] = withClaim(inner, path[1:], v)
		return out
	}
	delete(out, path[0])
	switch {
	case v.List:
		out[path[0]] = []string{v.Text}
	case !v.Absent:
		out[path[0]] = v.Text
	}
	return out
}

// key writes everything of a call, so that equal calls have equal keys.
func (c *Call) key() string {
	var b strings.Builder
	r, p := &c.Request, &c.Peer
	fmt.Fprintf(&b, "%s %s %s %s %d %t %q", r.Host, r.Path, r.Method, r.scheme(), r.Bucket, r.HTTP2, r.Headers)
	if r.Token != nil {
		claims, _ := json.Marshal(r.Token.Claims) // strings and maps of them always encode
		fmt.Fprintf(&b, " %q %q %q %s %t", r.Token.Issuer, r.Token.Subject, r.Token.Audiences, claims, r.Token.Valid)
	}
	fmt.Fprintf(&b, " %t %s %v %v %s", p.TLS, p.Identity, p.Source, p.Destination, p.ServerName)
	return b.String()
}
