package oracle

import (
	"flag"
	"fmt"
	"net"
	"strings"
	"testing"

	"mizzen.dev/mizzen/internal/meshtest"
	"mizzen.dev/mizzen/internal/traffic/match"
	"mizzen.dev/mizzen/test/oracle/internal/generate"
	"mizzen.dev/mizzen/test/oracle/internal/runnable"
)

// TestWaypoints asks calls through the tunnels of waypoints, in a process of its
// own, since istiod's code reads whether there is an ambient mesh when it
// starts.
func TestWaypoints(t *testing.T) {
	if !meshtest.Ambient(t, given()...) {
		return
	}
	bench := newBench(t)
	r := &record{kinds: map[string]int{}, shown: map[string]int{}}
	written := scenarios(t, "testdata/ambient/*.yaml", bench.Signer.JWKS())
	generated := (*meshes + 2) / 3
	each := *requests / 8 / (4*len(written) + generated)
	for _, c := range written {
		r.run(t, bench, c, 1, 4*each)
	}
	for i := range generated {
		seed := *first + uint64(i)
		m, err := generate.NewAmbientMesh(seed, bench.Signer.JWKS())
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range sides(compiled(t, m), fmt.Sprintf("ambient mesh %d", seed)) {
			if c.side == runnable.Waypoint {
				r.run(t, bench, c, seed, each)
			}
		}
	}
	t.Logf("%d requests to %d configurations, %d of them twice, %d disagreements, %v", r.requests, r.configurations, r.again, r.disagreements, r.kinds)
	if *requests >= enough {
		t.Run("mistakes", func(t *testing.T) { testCallMistakes(t, waypointMistakes, r.calls) })
	}
}

// given are the flags of the oracle, for another process.
func given() []string {
	var out []string
	flag.Visit(func(f *flag.Flag) {
		if strings.HasPrefix(f.Name, "oracle.") {
			out = append(out, "-"+f.Name+"="+f.Value.String())
		}
	})
	return out
}

// waypointMistakes are about tunnels, and where they lead.
var waypointMistakes = []callMistake{
	{name: "takes all services for one", call: func(c *generate.Call) { to(c, "10.0.0.1", "") }},
	{name: "ignores the port that a tunnel leads to", call: func(c *generate.Call) { to(c, "", "9080") }},
	{name: "believes whoever has a certificate", call: func(c *generate.Call) {
		if c.Trust == generate.Stranger {
			c.Trust = generate.OfMesh
		}
	}},
	{name: "takes tunnels without a certificate", call: func(c *generate.Call) { c.Trust = generate.OfMesh }},
	{name: "reads what is in TLS behind a tunnel", call: func(c *generate.Call) { c.ServerName = "" }},
	{name: "does not know who is behind a tunnel", change: func(_ *match.Request, p *match.Peer) { p.Identity = "" }},
	{name: "sees the address of who is behind a tunnel", change: func(_ *match.Request, p *match.Peer) { p.Internal = false }},
}

// to changes a part of a call's destination.
func to(c *generate.Call, ip, port string) {
	a, b, err := net.SplitHostPort(c.Destination)
	if err != nil {
		return
	}
	if ip != "" {
		a = ip
	}
	if port != "" {
		b = port
	}
	c.Destination = net.JoinHostPort(a, b)
}
