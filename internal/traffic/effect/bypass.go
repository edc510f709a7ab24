package effect

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
	"mizzen.dev/mizzen/internal/traffic/inject"
)

// bypass tells of workloads of which other connections are led past the sidecar
// than before. That a port takes plaintext for that reason is told as mTLS.
func (c *comparison) bypass() {
	for _, name := range sortedKeys(c.after.proxies) {
		b, a := c.before.proxies[name], c.after.proxies[name]
		if b == nil || b.Workload.Bypass.Key() == a.Workload.Bypass.Key() {
			continue
		}
		c.bypassIn(b.Workload, a.Workload)
		c.bypassOut(b.Workload, a.Workload)
	}
}

func (c *comparison) bypassIn(b, a *traffic.Workload) {
	f := c.bypassed(a, b.Bypass.In.Beyond(a.Bypass.In), a.Bypass.In.Beyond(b.Bypass.In))
	f.before, f.after = inPast(b.Bypass), inPast(a.Bypass)
	switch f.code {
	case mizzen.EffectBypass:
		f.message = "clients reach the application past its sidecar: no policy is asked, and mTLS is not understood"
		c.out.addUnless(mizzen.EffectMTLSWeaker, a.Name, f)
	case mizzen.EffectBypassEnds:
		f.message = "what clients send passes the sidecar"
		c.out.addUnless(mizzen.EffectMTLSStronger, a.Name, f)
	}
}

func (c *comparison) bypassOut(b, a *traffic.Workload) {
	less, more := shrinks(b.Bypass, a.Bypass), shrinks(a.Bypass, b.Bypass)
	f := c.bypassed(a, less, more)
	f.before, f.after = outPast(b.Bypass), outPast(a.Bypass)
	switch f.code {
	case mizzen.EffectBypass:
		f.message = "calls leave past the sidecar: no route, no mTLS and no policy for callers applies to them"
		f.witness = c.pastWitness(b, a)
		c.out.add(f)
	case mizzen.EffectBypassEnds:
		f.message = "calls pass the sidecar: its routes, mTLS and policies apply to them"
		c.out.add(f)
	}
}

// bypassed begins what is told; it has no code if nothing changes.
func (c *comparison) bypassed(w *traffic.Workload, less, more bool) found {
	f := found{subjects: []string{w.Name}, namespace: w.Namespace, group: w.Namespace, cause: c.captureCause(w)}
	switch {
	case more:
		f.code, f.impact = mizzen.EffectBypass, mizzen.ImpactDanger
	case less:
		f.code, f.impact = mizzen.EffectBypassEnds, mizzen.ImpactNotice
	}
	return f
}

// shrinks tells whether something that a workload sends gets past its sidecar on
// the first side only.
func shrinks(is, than traffic.Bypass) bool {
	if is.Out.Beyond(than.Out) {
		return true
	}
	if all := than.Out.Except && len(than.Out.List) == 0; all {
		return false
	}
	return slices.ContainsFunc(is.Past, func(p netip.Prefix) bool { return !slices.Contains(than.Past, p) }) ||
		is.Only != nil && than.Only == nil && !than.Out.Except ||
		is.Only != nil && slices.ContainsFunc(than.Only, func(p netip.Prefix) bool { return !slices.Contains(is.Only, p) }) ||
		is.Only != nil && than.Taken.Beyond(is.Taken)
}

const throughSidecar = "all through the sidecar"

func inPast(b traffic.Bypass) string {
	if b.In.Empty() {
		return throughSidecar
	}
	return b.In.String() + " past the sidecar"
}

func outPast(b traffic.Bypass) string {
	var parts []string
	if !b.Out.Empty() {
		parts = append(parts, b.Out.String())
	}
	if len(b.Past) > 0 {
		parts = append(parts, "addresses of "+networks(b.Past))
	}
	if b.Only != nil {
		s := "addresses outside of " + networks(b.Only)
		if !b.Taken.Empty() {
			s += " but for " + b.Taken.String()
		}
		parts = append(parts, s)
	}
	if parts == nil {
		return throughSidecar
	}
	return strings.Join(parts, ", ") + " past the sidecar"
}

func networks(all []netip.Prefix) string {
	var names []string
	for _, p := range all {
		names = append(names, p.String())
	}
	return list(names, 4)
}

// captureCause names what decides which connections get to a proxy: the
// workload, its namespace, the injector, or the settings of the mesh.
func (c *comparison) captureCause(w *traffic.Workload) cause {
	_, short, _ := strings.Cut(w.Name, "/")
	var refs []mizzen.Ref
	for _, ref := range c.changes.refs {
		switch {
		case slices.Contains(workloadKinds, ref.Kind) && ref.Namespace == w.Namespace && ref.Name == short:
			return c.cause(traffic.Rule{Ref: ref}, hints{"traffic.sidecar.istio.io", "interceptionMode", "hostNetwork", "template.metadata"})
		case ref.Kind == "Namespace" && ref.Name == w.Namespace:
			return c.cause(traffic.Rule{Ref: ref}, hints{"labels"})
		case ref.Kind == "MutatingWebhookConfiguration", inject.Configures(ref), ref.Kind == "ConfigMap" && ref.Name == "istio":
			refs = append(refs, ref)
		}
	}
	return c.oneOf(refs, c.after.RootNamespace, hints{"objectSelector", "namespaceSelector", "values", "config", "mesh"})
}

// repassed tells whether a port of a workload begins or ceases to be reached
// past its sidecar, and whether it is after.
func (c *comparison) repassed(proxy string, port uint32) (changes, past bool) {
	b, a := c.before.proxies[proxy], c.after.proxies[proxy]
	if b == nil || a == nil || b.Role != traffic.Sidecar || a.Role != traffic.Sidecar {
		return false, false
	}
	past = a.Workload.Bypass.In.Has(port)
	return past != b.Workload.Bypass.In.Has(port), past
}

// pastWitness is a call that leaves past the sidecar after the change.
func (c *comparison) pastWitness(b, a *traffic.Workload) *mizzen.Witness {
	v := c.before.proxies[b.Name].Outbound.View()
	for _, name := range sortedKeys(v.Clusters) {
		n, known := parseCluster(name)
		if !known || n.subset != "" || len(c.before.index(v).destination(name).workloads) == 0 {
			continue
		}
		var port uint32
		if _, err := fmt.Sscan(n.port, &port); err == nil && a.Bypass.Out.Has(port) && !b.Bypass.Out.Has(port) {
			return &mizzen.Witness{
				From: a.Name, Method: "GET", URL: "http://" + n.subject() + "/", Before: "its sidecar takes it", After: "it leaves past the sidecar, as plaintext",
			}
		}
	}
	return nil
}
