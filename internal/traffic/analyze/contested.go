package analyze

import (
	"maps"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pkg/config/analysis"
	"istio.io/istio/pkg/config/analysis/analyzers"
	"istio.io/istio/pkg/config/analysis/analyzers/util"
	"istio.io/istio/pkg/config/analysis/msg"
	"istio.io/istio/pkg/config/host"
	"istio.io/istio/pkg/config/resource"
	"istio.io/istio/pkg/config/schema/gvk"
	"istio.io/istio/pkg/util/sets"
)

// all returns Istio's analyzers. One is replaced: of the hosts that a
// VirtualService shares with others it names any, another one each time.
func all() []analysis.Analyzer {
	out := analyzers.All()
	for i, a := range out {
		if a.Metadata().Name == "virtualservice.ConflictingMeshGatewayHostsAnalyzer" {
			out[i] = contested{a}
		}
	}
	return out
}

// contested says which VirtualServices speak for one host in the mesh, as the
// analyzer does whose place it takes, and names the first host by name.
type contested struct{ analysis.Analyzer }

func (contested) Analyze(ctx analysis.Context) {
	claims := map[util.ScopedFqdn][]*resource.Instance{}
	ctx.ForEach(gvk.VirtualService, func(r *resource.Instance) bool {
		for _, h := range scopedHosts(r) {
			claims[h] = append(claims[h], r)
		}
		return true
	})
	hosts := slices.Sorted(maps.Keys(claims))
	reported := map[*resource.Instance]bool{}
	for _, h := range hosts {
		claimants := claims[h]
		if scope, name := h.GetScopeAndFqdn(); scope != util.ExportToAllNamespaces {
			claimants = slices.Clone(claimants)
			for _, other := range hosts {
				if s, n := other.GetScopeAndFqdn(); s == util.ExportToAllNamespaces && host.Name(name).Matches(host.Name(n)) {
					claimants = append(claimants, claims[other]...)
				}
			}
		}
		if len(claimants) > 1 {
			report(ctx, h, claimants, reported)
		}
	}
}

func report(ctx analysis.Context, h util.ScopedFqdn, claimants []*resource.Instance, reported map[*resource.Instance]bool) {
	names := make([]string, len(claimants))
	for i, r := range claimants {
		names[i] = r.Metadata.FullName.String()
	}
	slices.Sort(names)
	for _, r := range claimants {
		if !reported[r] {
			reported[r] = true
			ctx.Report(gvk.VirtualService, msg.NewConflictingMeshGatewayVirtualServiceHosts(r, strings.Join(names, ","), string(h)))
		}
	}
}

// scopedHosts returns the hosts for which a VirtualService speaks in the mesh,
// with the namespaces that see it.
func scopedHosts(r *resource.Instance) []util.ScopedFqdn {
	v, ok := r.Message.(*networking.VirtualService)
	if !ok || len(v.Gateways) > 0 && !slices.Contains(v.Gateways, util.MeshGateway) {
		return nil
	}
	own := r.Metadata.FullName.Namespace
	scopes := sets.New(util.ExportToAllNamespaces)
	if !util.IsExportToAllNamespaces(v.ExportTo) {
		scopes = sets.New[string]()
		for _, to := range v.ExportTo {
			if to == util.ExportToNamespaceLocal {
				to = own.String()
			}
			scopes.Insert(to)
		}
	}
	var out []util.ScopedFqdn
	for scope := range scopes {
		for _, h := range v.Hosts {
			out = append(out, util.NewScopedFqdn(scope, own, h))
		}
	}
	return out
}
