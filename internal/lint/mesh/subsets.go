package mesh

import (
	"fmt"
	"slices"
	"strings"

	"mizzen.dev/mizzen"
)

// checkSubsets finds subsets that select no workload of their Service.
func (w *world) checkSubsets() {
	for _, d := range w.destinationRules {
		s := w.byHost[resolve(d.spec.Host, d.namespace())]
		if s == nil {
			continue
		}
		all := w.behind(s)
		if len(all) == 0 {
			continue // somebody else deploys them
		}
		for i, subset := range d.spec.Subsets {
			if topological(subset.Labels) || slices.ContainsFunc(all, func(l *workload) bool { return covers(subset.Labels, l.labels) }) {
				continue
			}
			w.say(d.thing, mizzen.Finding{
				Code: mizzen.CodeEmptySubset, Severity: mizzen.Warning, Path: mizzen.Path("spec.subsets").Index(i),
				Message: fmt.Sprintf("the subset %s selects no workload of %s, so that requests to it get 503", subset.Name, s.host),
				Remedy:  "correct the subset's labels, or remove the subset and the routes to it",
			})
		}
	}
}

// topological tells whether labels are those that Istio gives to endpoints by
// their place.
func topological(labels map[string]string) bool {
	for name := range labels {
		if strings.HasPrefix(name, "topology.") || name == "kubernetes.io/hostname" {
			return true
		}
	}
	return false
}

// checkDuplicateRules finds DestinationRules for one host that contradict each
// other: Istio merges their subsets, and of everything else takes the oldest.
func (w *world) checkDuplicateRules() {
	first := map[string]*destinationRule{}
	for _, d := range w.destinationRules {
		if d.spec.WorkloadSelector != nil {
			continue
		}
		key := d.namespace() + " " + resolve(d.spec.Host, d.namespace()) + " " + strings.Join(d.spec.ExportTo, ",")
		other := first[key]
		if other == nil {
			first[key] = d
			continue
		}
		path, what := contradiction(other, d)
		if what == "" {
			continue
		}
		w.say(d.thing, mizzen.Finding{
			Code: mizzen.CodeDuplicateDestinationRule, Severity: mizzen.Warning, Path: path,
			Message: fmt.Sprintf("the DestinationRule %s of the same host has %s too, and only that of the one which was created first counts", other.name(), what),
			Remedy:  "merge the two DestinationRules",
		})
	}
}

func contradiction(a, b *destinationRule) (path mizzen.Path, what string) {
	if a.spec.TrafficPolicy != nil && b.spec.TrafficPolicy != nil {
		return "spec.trafficPolicy", "a traffic policy"
	}
	for i, mine := range b.spec.Subsets {
		for _, other := range a.spec.Subsets {
			if mine.Name == other.Name {
				return mizzen.Path("spec.subsets").Index(i), "a subset " + mine.Name
			}
		}
	}
	return "", ""
}

// checkSidecars finds hosts that the Sidecar of a namespace hides although a
// VirtualService of the namespace routes to them.
func (w *world) checkSidecars() {
	for _, s := range w.sidecars {
		if s.spec.WorkloadSelector != nil || len(s.spec.Egress) == 0 {
			continue
		}
		hidden := map[string]bool{}
		for _, v := range w.virtualServices {
			if v.namespace() != s.namespace() || !v.inMesh() {
				continue
			}
			for _, host := range v.destinations() {
				if hidden[host] || !w.hides(s, host) {
					continue
				}
				hidden[host] = true
				w.say(s.thing, mizzen.Finding{
					Code: mizzen.CodeHiddenHost, Severity: mizzen.Warning, Path: "spec.egress",
					Message: fmt.Sprintf("the host %s is hidden from the workloads of %s, although the VirtualService %s routes to it", host, s.namespace(), v.name()),
					Remedy:  fmt.Sprintf("add %q to the hosts of an egress", w.home(host)+"/"+host),
				})
			}
		}
	}
}

// destinations returns the full hosts that a VirtualService routes to, in its
// order.
func (v *virtualService) destinations() []string {
	var hosts []string
	for _, r := range v.spec.HTTP {
		hosts = append(hosts, v.hosts(r.Route)...)
	}
	for _, r := range slices.Concat(v.spec.TLS, v.spec.TCP) {
		hosts = append(hosts, v.hosts(r.Route)...)
	}
	return hosts
}

func (v *virtualService) hosts(to []weighted) []string {
	var hosts []string
	for _, d := range to {
		hosts = append(hosts, resolve(d.Destination.Host, v.namespace()))
	}
	return hosts
}

// home returns the namespace that a host is of, "" if it is not known.
func (w *world) home(host string) string {
	if s := w.byHost[host]; s != nil {
		return s.namespace()
	}
	if e := w.entry(host); e != nil {
		return e.namespace()
	}
	return ""
}

// hides tells whether a Sidecar leaves out a host that exists.
func (w *world) hides(s *sidecar, host string) bool {
	home := w.home(host)
	if home == "" {
		return false
	}
	for _, egress := range s.spec.Egress {
		for _, entry := range egress.Hosts {
			namespace, pattern, _ := strings.Cut(entry, "/")
			inside := namespace == "*" || namespace == home || namespace == "." && home == s.namespace()
			if inside && matches(pattern, host) {
				return false
			}
		}
	}
	return true
}
