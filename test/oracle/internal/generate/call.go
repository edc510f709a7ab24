package generate

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// Trust is who vouches for a caller.
type Trust string

// The kinds of callers: in plaintext, with a certificate of the mesh, with one
// of another authority, and in TLS without any.
const (
	Plaintext Trust = "plaintext"
	OfMesh    Trust = "mesh"
	Stranger  Trust = "stranger"
	Anonymous Trust = "anonymous"
)

// Caller is who calls.
type Caller struct {
	Trust Trust
	// Identity is the SPIFFE ID of the certificate without its scheme.
	Identity string
	// ServerName is what it asks for in TLS, at a waypoint in that inside of the
	// tunnel.
	ServerName string
	// Sidecar tells whether it offers the application protocols of Istio.
	Sidecar bool
	// Address is where it comes from, without a port.
	Address string
}

// Token is a JSON web token of a call.
type Token struct {
	Issuer, Subject string
	Audiences       []string
	Claims          map[string]any
	// Expired and Forged make it invalid.
	Expired, Forged bool
}

// Call is a request with who sends it where.
type Call struct {
	Caller
	Request
	// Destination is "ip:port".
	Destination string
	Token       *Token
}

// String returns the call as a line for people.
func (c Call) String() string {
	s := fmt.Sprintf("%s to %s: %s", c.Caller, c.Destination, c.Request)
	if c.Token != nil {
		s += fmt.Sprintf(" token=%+v", *c.Token)
	}
	return s
}

// String returns the caller in words.
func (c Caller) String() string {
	s := fmt.Sprintf("%s %s from %s", c.Trust, c.Identity, c.Address)
	if c.Sidecar {
		s += " by sidecar"
	}
	if c.ServerName != "" {
		s += " for " + c.ServerName
	}
	return s
}

// What policies and calls are made of; policies name some of it.
var (
	identities = []string{
		"cluster.local/ns/shop/sa/web", "cluster.local/ns/shop/sa/cart", "cluster.local/ns/team/sa/other",
		"cluster.local/ns/ops/sa/job", "cluster.local/ns/shop/sa/evil", "cluster.local/ns/shop/sa/webx", "cluster.local/ns/shop/sa/webx",
	}
	sourceAddresses = []string{"10.244.7.5", "10.244.8.5", "203.0.113.9"}
	policyPaths     = []string{
		"/api/x", "/api", "/api/", "/API/x", "//api/x", "/x/../api/x", "/%61pi/x", "/api//secret", "/api/secret", "/api%2fx", "/public",
		"/publicx", "/admin", "/a/b/health", "/healthx", "/tmpl/a/x", "/tmpl/a/b/x", "/tmpl//x", "/tmpl/a/b/c/end", "/public?y=/../z", "/api/x#f", "/public#f", "/admin#f", "/",
	}
	policyHosts   = []string{"pay.example.com", "PAY.example.com", "pay.example.com:8080", "pay", "x.example.com"}
	forwardedFors = []string{"203.0.113.7", "203.0.113.7, 10.1.1.1", "10.1.1.1, 203.0.113.7", "x"}
	issuers       = []string{"issuer.example.com", "second.example.com", "nobody.example.com"}
	roles         = []any{"admin", "user", []any{"admin", "user"}, []any{"user"}, "admin user", 7}
)

// Inbound returns a call to a workload, from one of all kinds of callers.
func Inbound(rnd *rand.Rand, address string, ports []int) Call {
	c := Call{
		Caller:      caller(rnd),
		Destination: fmt.Sprintf("%s:%d", address, ports[rnd.IntN(len(ports))]),
		Request: Request{
			Method: pick(rnd, []string{"GET", "GET", "POST", "DELETE"}), Path: pick(rnd, policyPaths), Host: pick(rnd, policyHosts),
			HTTP2: rnd.IntN(5) == 0, Bucket: rnd.Uint32N(1_000_000),
		},
	}
	if strings.Contains(c.Path, "#") {
		c.HTTP2 = false
	}
	for range []int{0, 0, 1, 1, 2}[rnd.IntN(5)] {
		c.Header = append(c.Header, [][2]string{
			{"x-tier", "free"},
			{"x-tier", "gold"},
			{"x-tier", "goldx"},
			{"x-forwarded-for", pick(rnd, forwardedFors)},
			{"content-type", "application/grpc"},
		}[rnd.IntN(5)])
	}
	if rnd.IntN(3) == 0 {
		c.Token = token(rnd)
	}
	return c
}

// Tunneled returns a call through a tunnel of a waypoint, most of them from
// callers whom it believes.
func Tunneled(rnd *rand.Rand, destination string) Call {
	c := Inbound(rnd, "", []int{0})
	c.Destination, c.Sidecar = destination, false
	if c.Trust != OfMesh && rnd.IntN(4) > 0 {
		c.Trust, c.Identity = OfMesh, pick(rnd, identities)
	}
	if rnd.IntN(10) == 0 {
		c.ServerName = pick(rnd, policyHosts[3:])
	}
	return c
}

func caller(rnd *rand.Rand) Caller {
	c := Caller{Trust: OfMesh, Identity: pick(rnd, identities), Sidecar: true, Address: pick(rnd, sourceAddresses)}
	switch rnd.IntN(16) {
	case 0, 1, 2, 3:
		c.Trust, c.Identity, c.Sidecar = Plaintext, "", false
	case 4:
		c.Trust, c.Sidecar = Stranger, rnd.IntN(2) == 0
	case 5:
		c.Trust, c.Identity, c.Sidecar = Anonymous, "", rnd.IntN(2) == 0
	case 6:
		c.Sidecar = false
	}
	return c
}

func token(rnd *rand.Rand) *Token {
	t := &Token{Issuer: issuers[min(rnd.IntN(6), rnd.IntN(3))], Subject: pick(rnd, []string{"bob", "bobx", "eve"})}
	t.Audiences = [][]string{nil, {"shop"}, {"other", "shop"}, {"other"}}[rnd.IntN(4)]
	t.Claims = map[string]any{"role": roles[rnd.IntN(len(roles))]}
	if rnd.IntN(2) == 0 {
		t.Claims["nested"] = map[string]any{"deep": pick(rnd, []string{"x", "y"})}
	}
	switch rnd.IntN(10) {
	case 0:
		t.Expired = true
	case 1:
		// Envoy looks at the audience before the signature, and answers
		// otherwise; the model knows one kind of invalid token.
		t.Forged, t.Audiences = true, []string{"shop"}
	}
	return t
}

// Outbound returns a call to a destination in plaintext, or in TLS if there are
// names to ask for.
func Outbound(rnd *rand.Rand, destination string, names, hosts []string) Call {
	c := Call{
		Caller: Caller{Trust: Plaintext, Address: "10.244.0.99"}, Destination: destination,
		Request: Request{
			Method: "GET", Path: pick(rnd, []string{"/", "/a", "/api/v1"}), Host: pick(rnd, hosts),
			Bucket: rnd.Uint32N(1_000_000), HTTP2: rnd.IntN(4) == 0,
		},
	}
	if len(names) == 0 || rnd.IntN(3) == 0 {
		return c
	}
	c.Trust, c.HTTP2 = Anonymous, false
	name := strings.Replace(pick(rnd, names), "*", pick(rnd, []string{"a", "a.b"}), 1)
	c.ServerName = pick(rnd, []string{name, name, strings.ToUpper(name), "x" + name, "unknown.example.org"})
	c.Host = slices.Concat([]string{name}, hosts)[rnd.IntN(1+len(hosts))]
	return c
}

// AddToken gives some of the calls a token.
func AddToken(rnd *rand.Rand, c *Call) {
	if rnd.IntN(2) == 0 {
		c.Token = token(rnd)
	}
}
