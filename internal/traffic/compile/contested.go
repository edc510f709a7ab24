package compile

import (
	"slices"
	"time"

	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/constants"

	"mizzen.dev/mizzen"
)

// contested are the hosts for which VirtualServices of one age speak within the
// mesh. Git has no ages: which of them decides may be another one in a cluster.
func (in *input) contested() map[string][]mizzen.Ref {
	claims := map[string][]config.Config{}
	for _, c := range in.configs {
		spec, ok := c.Spec.(*networking.VirtualService)
		if !ok || len(spec.Gateways) > 0 && !slices.Contains(spec.Gateways, constants.IstioMeshGateway) {
			continue
		}
		for _, h := range spec.Hosts {
			h = full(h, c.Namespace)
			claims[h] = append(claims[h], c)
		}
	}
	out := map[string][]mizzen.Ref{}
	for host, all := range claims {
		ages := map[time.Time]bool{}
		var refs []mizzen.Ref
		for _, c := range all {
			ages[c.CreationTimestamp] = true
			refs = append(refs, mizzen.Ref{Group: c.GroupVersionKind.Group, Kind: c.GroupVersionKind.Kind, Namespace: c.Namespace, Name: c.Name})
		}
		if len(ages) < len(all) {
			slices.SortFunc(refs, mizzen.CompareRefs)
			out[host] = refs
		}
	}
	return out
}
