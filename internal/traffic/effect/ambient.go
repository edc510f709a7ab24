package effect

import (
	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
)

// rehoused are the workloads of a namespace for which a ztunnel takes the place
// of a sidecar, or the other way round.
func (c *comparison) rehoused(namespace string) (names []string) {
	for _, name := range sortedKeys(c.after.proxies) {
		b, a := c.before.proxies[name], c.after.proxies[name]
		if b != nil && a.Workload.Namespace == namespace && a.Role != b.Role && a.Role.ForWorkload() && b.Role.ForWorkload() {
			names = append(names, name)
		}
	}
	return names
}

// tunnels tells of workloads whose proxy is of another kind; that of a whole
// namespace is told as injection.
func (c *comparison) tunnels() {
	namespaces := map[string]bool{}
	for _, p := range c.after.proxies {
		namespaces[p.Workload.Namespace] = true
	}
	for _, ns := range sortedKeys(namespaces) {
		if b, known := c.before.Injected[ns]; known && b != c.after.Injected[ns] {
			continue
		}
		for _, name := range c.rehoused(ns) {
			w := c.after.proxies[name].Workload
			f := found{code: mizzen.EffectInjectionOff, subjects: []string{name}, namespace: ns, group: ns, cause: c.captureCause(w)}
			sidecar := c.after.proxies[name].Role == traffic.Sidecar
			if sidecar {
				f.code = mizzen.EffectInjectionOn
			}
			c.out.add(rehousing(f, sidecar))
		}
	}
}

// rehousing says what a ztunnel does of what a sidecar did, or the opposite.
func rehousing(f found, sidecar bool) found {
	const (
		tunnel = "ztunnel: mTLS and policies of connections"
		proxy  = "sidecar: mTLS, routes, and policies of requests"
	)
	f.impact, f.before, f.after = mizzen.ImpactWarning, proxy, tunnel
	f.message = "new pods get no sidecar but are of the ambient mesh: routes of callers and policies of requests apply at a waypoint only"
	if sidecar {
		f.impact, f.before, f.after = mizzen.ImpactNotice, tunnel, proxy
		f.message = "new pods get a sidecar and leave the ambient mesh: they no longer send through waypoints"
	}
	return f
}
