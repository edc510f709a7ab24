package effect

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
	"mizzen.dev/mizzen/internal/traffic/match"
)

// mtls tells where workloads accept plaintext that they refused, or refuse
// plaintext that they accepted.
func (c *comparison) mtls() {
	ports := map[string][]gates{}
	for _, g := range c.changedGates() {
		if code := mtlsCode(g); code != "" {
			key := g.proxy + "\x00" + string(code) + "\x00" + g.before.words() + "\x00" + g.after.words()
			ports[key] = append(ports[key], g)
		}
	}
	for _, key := range sortedKeys(ports) {
		c.tellMTLS(ports[key])
	}
	c.withoutSidecar()
}

func mtlsCode(g gates) mizzen.EffectCode {
	b, a := g.before, g.after
	switch {
	case !b.plain && a.plain, b.secured && !a.secured && a.plain:
		return mizzen.EffectMTLSWeaker
	case b.plain && !a.plain && a.secured, !b.secured && a.secured:
		return mizzen.EffectMTLSStronger
	}
	return ""
}

// tellMTLS tells of the ports of one workload that change in the same way.
func (c *comparison) tellMTLS(same []gates) {
	g := same[0]
	w := c.after.proxies[g.proxy].Workload
	f := found{code: mtlsCode(g), subjects: []string{g.proxy}, namespace: w.Namespace, before: g.before.words(), after: g.after.words()}
	var parts []string
	for _, s := range same {
		parts = append(parts, portWords(s.port))
	}
	if f.code == mizzen.EffectMTLSWeaker {
		f.impact, f.message = mizzen.ImpactDanger, "plaintext is accepted"
		if g.before.plain {
			f.message = "mTLS is no longer offered"
		}
	} else {
		f.impact, f.message = mizzen.ImpactNotice, "plaintext is refused"
		if g.after.plain {
			f.message = "mTLS is offered"
		} else if f.callers = c.plaintextCallers(); len(f.callers) > 0 {
			f.impact, f.message = mizzen.ImpactWarning, "plaintext is refused, and there are workloads without a sidecar"
		}
	}
	if same[0].port != others {
		// The same for the ports that no Service names means for all.
		f.message += " at " + strings.Join(distinct(parts), ", ")
		if !slices.ContainsFunc(same, func(s gates) bool { return s.port == others || led(w, s.port) }) {
			f.message += ", to which no Service leads"
		}
	}
	f.cause = c.policyFor("PeerAuthentication", w, hints{"portLevelMtls", "mode", "mtls"})
	if changes, past := c.repassed(g.proxy, g.port); changes {
		if f.cause = c.captureCause(w); past {
			f.message, f.after = f.message+", past the sidecar", g.after.words()+": no policy applies"
		} else {
			f.before = g.before.words() + ": no policy applied"
		}
	}
	f.witness = c.plaintextWitness(w, g)
	f.group = w.Namespace
	c.out.add(f)
}

// led tells whether a Service leads to a port of a workload.
func led(w *traffic.Workload, port uint32) bool {
	return slices.ContainsFunc(w.Ports, func(s traffic.ServicePort) bool { return s.Target == port })
}

// plaintextCallers are the workloads that can only speak plaintext.
func (c *comparison) plaintextCallers() []string {
	var out []string
	for _, w := range c.after.Workloads {
		if !w.Sidecar && !w.Ambient {
			out = append(out, w.Name)
		}
	}
	return out
}

func (c *comparison) plaintextWitness(w *traffic.Workload, g gates) *mizzen.Witness {
	if g.before.plain == g.after.plain {
		return nil
	}
	to := w.Name
	if g.port != others {
		to += fmt.Sprintf(":%d", g.port)
	}
	before, after := gateOf(c.before.proxies[g.proxy], g.port), gateOf(c.after.proxies[g.proxy], g.port)
	return &mizzen.Witness{
		From: "outside", Method: "GET", URL: "http://" + to + "/",
		Before: plaintextFate(before.plain, w, g.port), After: plaintextFate(after.plain, w, g.port),
	}
}

// plaintextFate is what becomes of a request without TLS, that no policy can
// know the sender of.
func plaintextFate(chain *listenerv3.FilterChain, w *traffic.Workload, port uint32) string {
	const closed = "the connection is closed"
	if chain == nil {
		return closed
	}
	const reaches = "reaches the workload"
	stack, err := match.Open(chain)
	if err != nil {
		return reaches
	}
	var peer match.Peer
	peer.Source = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 1}), 40000)
	if address, err := netip.ParseAddr(w.Address); err == nil {
		peer.Destination = netip.AddrPortFrom(address, uint16(max(port, 1)))
	}
	switch v := match.Authorize(stack, match.Request{Method: "GET", Path: "/", Host: hostOf(w)}, peer); {
	case v.Decision != match.Denied:
		return reaches
	case v.Status == 0:
		return closed + " by a policy"
	default:
		return fmt.Sprintf("%d by a policy", v.Status)
	}
}

// withoutSidecar tells of workloads that lose or get their sidecar by
// themselves; that of a whole namespace is told as injection.
func (c *comparison) withoutSidecar() {
	had := map[string]*traffic.Workload{}
	for _, w := range c.before.Workloads {
		had[w.Name] = w
	}
	for _, w := range c.after.Workloads {
		b := had[w.Name]
		if b == nil || b.Sidecar == w.Sidecar || b.Ambient || w.Ambient || c.before.Injected[w.Namespace] != c.after.Injected[w.Namespace] {
			continue
		}
		f := found{
			code: mizzen.EffectMTLSStronger, impact: mizzen.ImpactNotice, subjects: []string{w.Name}, namespace: w.Namespace,
			message: "pods get a sidecar", before: "no sidecar: plaintext, and no policy applies", after: "a sidecar",
		}
		if b.Sidecar {
			f.code, f.impact, f.message = mizzen.EffectMTLSWeaker, mizzen.ImpactDanger, "pods no longer get a sidecar"
			f.before, f.after = f.after, f.before
		}
		f.cause = c.captureCause(w)
		c.out.add(f)
	}
}

// policyFor names the changed object of a kind that applies to a workload: one
// that selects it, before one of its namespace, before one of the mesh.
func (c *comparison) policyFor(kind string, w *traffic.Workload, h hints) cause {
	root := c.after.RootNamespace
	if root == "" {
		root = c.before.RootNamespace
	}
	var best mizzen.Ref
	rank := 0
	for _, ref := range c.changes.ofKind(kind, w.Namespace, root) {
		if r := c.applies(ref, w); r > rank {
			best, rank = ref, r
		}
	}
	if rank == 0 {
		return c.oneOf(c.meshConfig(), root, hints{"mesh"})
	}
	return c.cause(traffic.Rule{Ref: best}, h)
}

// applies ranks how closely an object speaks of a workload; 0 if it does not.
func (c *comparison) applies(ref mizzen.Ref, w *traffic.Workload) int {
	best := 0
	for _, objects := range []map[mizzen.Ref]mizzen.Object{c.changes.before, c.changes.after} {
		o, there := objects[ref]
		if !there {
			continue
		}
		labels, selects, err := unstructured.NestedStringMap(o.Object, "spec", "selector", "matchLabels")
		switch {
		case err != nil:
		case !selects || len(labels) == 0:
			if ref.Namespace == w.Namespace {
				best = max(best, 2)
			} else {
				best = max(best, 1)
			}
		case subset(labels, w.Labels):
			best = max(best, 3)
		}
	}
	return best
}

func subset(labels, of map[string]string) bool {
	for k, v := range labels {
		if of[k] != v {
			return false
		}
	}
	return true
}

// meshConfig is the ConfigMap with the settings of the mesh, if it differs.
func (c *comparison) meshConfig() []mizzen.Ref {
	var out []mizzen.Ref
	for _, ref := range c.changes.ofKind("ConfigMap") {
		if ref.Name == "istio" {
			out = append(out, ref)
		}
	}
	return out
}

// hostOf makes a host name of a workload's name, as its Service may have it.
func hostOf(w *traffic.Workload) string {
	return strings.TrimPrefix(w.Name, w.Namespace+"/") + "." + w.Namespace
}
