package effect

import (
	"fmt"
	"net/netip"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
	"mizzen.dev/mizzen/internal/traffic/match"
)

// movedGates are the workloads that accept something else than before.
func (c *comparison) movedGates() map[string]bool {
	moved := map[string]bool{}
	for _, g := range c.changedGates() {
		if g.before.words() != g.after.words() {
			moved[g.proxy] = true
		}
	}
	return moved
}

// mismatches tells of callers that speak what the server refuses, where they
// did not before. moved are the workloads that accept something else.
func (c *comparison) mismatches(v *vantage, moved map[string]bool) {
	for _, name := range sortedKeys(v.after.Clusters) {
		n, known := parseCluster(name)
		if !known || !c.mayMismatch(v, name, moved) {
			continue
		}
		c.mismatch(v, name, n)
	}
}

// mayMismatch leaves out the clusters at which nothing changed.
func (c *comparison) mayMismatch(v *vantage, name string, moved map[string]bool) bool {
	b, a := v.before.Clusters[name], v.after.Clusters[name]
	if b == nil {
		return false
	}
	if c.hash.of(b) != c.hash.of(a) || c.hash.of(v.before.Endpoints[name]) != c.hash.of(v.after.Endpoints[name]) {
		return true
	}
	for _, w := range c.after.index(v.after).destination(name).workloads {
		if moved[w] {
			return true
		}
	}
	return false
}

// mismatch compares what callers speak with what each endpoint accepts.
func (c *comparison) mismatch(v *vantage, name string, n clusterName) {
	before, after := c.before.refusals(v.before, name), c.after.refusals(v.after, name)
	for _, workload := range sortedKeys(after) {
		a := after[workload]
		if b, there := before[workload]; !a.refused || !there || b.refused {
			continue
		}
		f := found{
			code: mizzen.EffectTLSMismatch, impact: mizzen.ImpactDanger, subject: n.subject(), namespace: namespaceOf(n.host),
			message: "calls fail: callers speak what the server refuses",
			before:  before[workload].words(), after: a.words(), from: v.all(), parts: []string{workload},
		}
		f.cause = c.mismatchCause(v, name, workload)
		f.witness = &mizzen.Witness{
			From: v.names[0], Method: "GET", URL: fmt.Sprintf("http://%s/", n.subject()),
			Before: "reaches the server", After: "503: the connection is refused",
		}
		c.out.add(f)
	}
}

func (c *comparison) mismatchCause(v *vantage, name, workload string) cause {
	after, _ := traffic.RuleOfCluster(v.after.Clusters[name])
	before, _ := traffic.RuleOfCluster(v.before.Clusters[name])
	if rule, ok := c.firstChanged(after, before); ok && c.changes.changed(rule.Ref) {
		return c.cause(rule, hints{"tls"})
	}
	if w := c.after.workload(workload); w != nil {
		if found := c.policyFor("PeerAuthentication", w, hints{"portLevelMtls", "mode", "mtls"}); found.ref.Kind != "" {
			return found
		}
	}
	found, _ := c.workload(workload)
	return found
}

// talk is what callers speak to an endpoint, and what it accepts.
type talk struct {
	speaks, accepts string
	refused         bool
}

func (t talk) words() string {
	return "callers speak " + t.speaks + ", the server accepts " + t.accepts
}

// refusals returns what is spoken to each workload behind a cluster.
func (s *side) refusals(v *traffic.View, cluster string) map[string]talk {
	out := map[string]talk{}
	cl := v.Clusters[cluster]
	for _, locality := range v.Endpoints[cluster].GetEndpoints() {
		for _, e := range locality.GetLbEndpoints() {
			address := e.GetEndpoint().GetAddress().GetSocketAddress()
			w := s.byAddress[address.GetAddress()]
			if w == nil {
				continue
			}
			speaks := spoken(cl, e)
			out[w.Name] = s.talk(w, address.GetPortValue(), speaks)
		}
	}
	return out
}

func (s *side) talk(w *traffic.Workload, port uint32, speaks string) talk {
	p := s.proxies[w.Name]
	if p == nil {
		// Without a proxy there is nobody to end mTLS.
		return talk{speaks: speaks, accepts: "plaintext only", refused: speaks == mtls}
	}
	g := s.accepting(p, port)
	t := talk{speaks: speaks, accepts: g.words()}
	if !p.Role.ForWorkload() {
		return t
	}
	switch speaks {
	case mtls:
		t.refused = !g.secured
	case plainTLS:
		t.refused = !takesTLS(p, port)
	default: // of a certificate of their own nobody knows who signed it
		t.refused = !g.plain
	}
	return t
}

// takesTLS tells whether a workload takes TLS without a certificate of the
// client: if it ends TLS and demands none, or passes the bytes on.
func takesTLS(p *traffic.Proxy, port uint32) bool {
	l := inbound(p)
	address, err := netip.ParseAddr(p.Workload.Address)
	if l == nil || err != nil {
		return true
	}
	chain, _ := match.Chain(l, match.Connection{Destination: netip.AddrPortFrom(address, uint16(port)), TLS: true, ALPN: []string{"http/1.1"}})
	if chain == nil {
		return false
	}
	if t, ends := unpack(chain.GetTransportSocket().GetTypedConfig(), &tlsv3.DownstreamTlsContext{}); ends {
		return !t.GetRequireClientCertificate().GetValue()
	}
	return httpManager(chain) == nil
}

// What callers speak beside plaintext: what is usual within the mesh, and TLS
// with a certificate of another kind, or with none.
const (
	mtls     = "mTLS"
	ownTLS   = "TLS with a certificate of their own"
	plainTLS = "TLS without a certificate"
)

// spoken returns what a cluster speaks to an endpoint.
func spoken(cl *clusterv3.Cluster, e *endpointv3.LbEndpoint) string {
	socket := cl.GetTransportSocket()
	for _, m := range cl.GetTransportSocketMatches() {
		if labels(e.GetMetadata(), m) {
			socket = m.GetTransportSocket()
			break
		}
	}
	t, ok := unpack(socket.GetTypedConfig(), &tlsv3.UpstreamTlsContext{})
	switch {
	case !ok:
		return plaintext
	case istioIssued(t.GetCommonTlsContext()):
		return mtls
	case len(t.GetCommonTlsContext().GetTlsCertificates())+len(t.GetCommonTlsContext().GetTlsCertificateSdsSecretConfigs()) > 0:
		return ownTLS
	}
	return plainTLS
}

// labels tells whether an endpoint's metadata has all that a match asks for.
func labels(m *corev3.Metadata, of *clusterv3.Cluster_TransportSocketMatch) bool {
	has := m.GetFilterMetadata()["envoy.transport_socket_match"].GetFields()
	for k, v := range of.GetMatch().GetFields() {
		if has[k].GetStringValue() != v.GetStringValue() {
			return false
		}
	}
	return true
}

// workload returns a workload by name, or nil.
func (s *side) workload(name string) *traffic.Workload {
	for _, w := range s.Workloads {
		if w.Name == name {
			return w
		}
	}
	return nil
}
