package effect

import (
	"fmt"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
)

// applications tells where in a pod its proxy hands requests to, which a Sidecar
// may say (defaultEndpoint).
func (u *residue) applications(before, after *traffic.View) {
	for _, name := range sortedKeys(before.Clusters) {
		port, ok := strings.CutPrefix(name, "inbound|")
		b, a := before.Clusters[name], after.Clusters[name]
		if !ok || a == nil || u.c.hash.of(b) == u.c.hash.of(a) {
			continue
		}
		x, y := application(b), application(a)
		if x == y {
			continue
		}
		port, _, _ = strings.Cut(port, "|")
		workload := u.from.names[0]
		f := found{
			code: mizzen.EffectDestination, impact: mizzen.ImpactWarning, subjects: []string{workload}, namespace: namespaceOfWorkload(workload),
			message: "requests at port " + port + " are handed to another address within the pod", before: x, after: y,
			cause: u.c.oneOf(u.c.changes.ofKind("Sidecar"), namespaceOfWorkload(workload), hints{"defaultEndpoint", "ingress"}),
		}
		u.c.out.add(f)
	}
}

// application is where an inbound cluster leads to. One without endpoints goes
// on to the address at which the connection arrived.
func application(c *clusterv3.Cluster) string {
	groups := c.GetLoadAssignment().GetEndpoints()
	if len(groups) == 0 || len(groups[0].GetLbEndpoints()) == 0 {
		return "where it arrived"
	}
	to := groups[0].GetLbEndpoints()[0].GetEndpoint().GetAddress()
	if path := to.GetPipe().GetPath(); path != "" {
		return path
	}
	return fmt.Sprintf("%s:%d", addressOf(to), to.GetSocketAddress().GetPortValue())
}
