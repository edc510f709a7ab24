package effect

import (
	"cmp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
)

// objects tells of what becomes of objects as such.
func (c *comparison) objects() {
	c.ignored()
	c.conflicts()
	c.unreachable()
	c.delegates()
	c.expressions()
	c.injection()
	c.tunnels()
}

// ignored tells of objects that istiod ignores, and did not before.
func (c *comparison) ignored() {
	had := map[string]bool{}
	key := func(r traffic.Rejection) string { return r.Ref.String() + " " + string(r.Path) }
	for _, r := range c.before.Rejected {
		had[key(r)] = true
	}
	for _, r := range c.after.Rejected {
		if had[key(r)] {
			continue
		}
		what := "istiod ignores it"
		if r.Path != "" && r.Path != "spec" {
			what = "istiod ignores " + string(r.Path)
		}
		path := cmp.Or(r.Path, "spec")
		c.out.add(found{
			code: mizzen.EffectIgnored, impact: mizzen.ImpactWarning, subject: r.Ref.String(), message: what + ": " + clip(oneLine(r.Reason)),
			after: "ignored", cause: cause{r.Ref, c.origin(r.Ref, path)},
		})
	}
}

func oneLine(s string) string { return strings.TrimRight(strings.Join(strings.Fields(s), " "), ".") }

// injection tells of namespaces whose new pods get a sidecar, or no longer.
func (c *comparison) injection() {
	for _, ns := range sortedKeys(c.after.Injected) {
		b, known := c.before.Injected[ns]
		a := c.after.Injected[ns]
		if !known || b == a {
			continue
		}
		f := found{
			code: mizzen.EffectInjectionOff, impact: mizzen.ImpactDanger, subject: "namespace " + ns, before: "sidecars", after: "no sidecars",
			message: "new pods get no sidecar: they accept plaintext, and no policy or route applies to them",
		}
		if a {
			f.code, f.impact, f.message = mizzen.EffectInjectionOn, mizzen.ImpactNotice, "new pods get a sidecar"
			f.before, f.after = f.after, f.before
		}
		if refs := c.changes.ofKind("Namespace"); slices.Contains(refs, mizzen.Ref{Kind: "Namespace", Name: ns}) {
			f.cause = c.cause(traffic.Rule{Ref: mizzen.Ref{Kind: "Namespace", Name: ns}}, hints{"labels"})
		} else {
			f.cause = c.oneOf(c.changes.ofKind("MutatingWebhookConfiguration"), "", hints{"namespaceSelector", "webhooks"})
		}
		for _, w := range c.before.Workloads {
			if w.Namespace == ns {
				f.callers = append(f.callers, w.Name)
			}
		}
		if moved := c.rehoused(ns); len(moved) > 0 {
			f = rehousing(f, a)
			f.callers = moved
		}
		c.out.add(f)
	}
}

// conflicts tells of VirtualServices that lose a host to another one. Istiod
// takes one for each host of the mesh; which, the compiled routes tell.
func (c *comparison) conflicts() {
	before, after := claims(c.changes.before), claims(c.changes.after)
	for _, host := range sortedKeys(after) {
		refs := after[host]
		if len(refs) < 2 || !slices.ContainsFunc(refs, c.changes.changed) || len(before[host]) >= len(refs) {
			continue
		}
		winners := c.after.speakers(host)
		if !slices.ContainsFunc(refs, func(r mizzen.Ref) bool { return slices.Contains(winners, r) }) {
			continue
		}
		for _, ref := range refs {
			if slices.Contains(winners, ref) {
				continue
			}
			c.out.add(found{
				code: mizzen.EffectConflict, impact: mizzen.ImpactWarning, subject: shortHost(host), namespace: namespaceOf(host),
				message: "two VirtualServices speak for the host: " + winners[0].Namespace + "/" + winners[0].Name + " wins" + c.changes.precedence(winners[0], ref) + ", and " +
					ref.Namespace + "/" + ref.Name + " is ignored",
				before: words(before[host]), after: words(winners), cause: c.conflicting(ref, refs),
			})
		}
	}
}

// conflicting is the line of a VirtualService that loses a host. One that Git
// does not hold has none, and what changes beside it is shown.
func (c *comparison) conflicting(loser mizzen.Ref, refs []mizzen.Ref) cause {
	at := c.origin(loser, "spec.hosts")
	if i := slices.IndexFunc(refs, c.changes.changed); at.File == "" && i >= 0 {
		return cause{refs[i], c.origin(refs[i], "spec.hosts")}
	}
	return cause{loser, at}
}

func words(refs []mizzen.Ref) string {
	var out []string
	for _, r := range refs {
		out = append(out, "the rules of "+r.Namespace+"/"+r.Name)
	}
	return list(out, 3)
}

// claims returns the VirtualServices that speak for a host within the mesh.
func claims(objects map[mizzen.Ref]mizzen.Object) map[string][]mizzen.Ref {
	out := map[string][]mizzen.Ref{}
	for ref, o := range objects {
		if ref.Kind != "VirtualService" || ref.Group != "networking.istio.io" || !forSidecars(o) {
			continue
		}
		for _, h := range hostsOf(o) {
			out[h] = append(out[h], ref)
		}
	}
	for _, refs := range out {
		slices.SortFunc(refs, mizzen.CompareRefs)
	}
	return out
}

func forSidecars(o mizzen.Object) bool {
	gateways, found, err := unstructured.NestedStringSlice(o.Object, "spec", "gateways")
	return err == nil && (!found || len(gateways) == 0 || slices.Contains(gateways, "mesh"))
}

// speakers returns the VirtualServices whose rules decide for a host at any
// sidecar.
func (s *side) speakers(host string) []mizzen.Ref {
	var out []mizzen.Ref
	seen := map[*traffic.Part]bool{}
	for _, p := range s.Proxies {
		if p.Role != traffic.Sidecar || seen[p.Outbound] {
			continue
		}
		seen[p.Outbound] = true
		for _, rc := range p.Outbound.View().Routes {
			for _, vh := range rc.GetVirtualHosts() {
				if h, _ := hostPort(vh); h != host {
					continue
				}
				for _, r := range vh.GetRoutes() {
					if rule, ok := traffic.RuleOfRoute(r); ok && !slices.Contains(out, rule.Ref) {
						out = append(out, rule.Ref)
					}
				}
			}
		}
	}
	slices.SortFunc(out, mizzen.CompareRefs)
	return out
}
