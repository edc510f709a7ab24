package compile

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"istio.io/api/label"
	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pilot/pkg/features"
	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pkg/config"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
)

// addEntries files the WorkloadEntries: what runs outside of Kubernetes at an
// address that Git knows. One whose address is a name or a socket is left to
// the ServiceEntry that selects it, as istiod leaves it.
func (in *input) addEntries() {
	names := map[string]bool{}
	for _, w := range in.workloads {
		names[w.Name] = true
	}
	taken := map[string]bool{}
	for _, c := range in.configs {
		spec, ok := c.Spec.(*networking.WorkloadEntry)
		if !ok {
			continue
		}
		if _, err := netip.ParseAddr(spec.Address); err != nil || taken[spec.Address] {
			continue
		}
		taken[spec.Address] = true
		w := in.entryWorkload(c, spec)
		if names[w.Name] {
			w.Name += " (WorkloadEntry)"
		}
		in.workloads = append(in.workloads, w)
	}
}

// entryWorkload describes an entry as istiod reads it: it speaks mTLS, and so
// has a proxy, if its label says so, or if it has a service account.
func (in *input) entryWorkload(c config.Config, spec *networking.WorkloadEntry) *workload {
	ref := mizzen.Ref{Group: c.GroupVersionKind.Group, Kind: "WorkloadEntry", Namespace: c.Namespace, Name: c.Name}
	w := &workload{
		Workload: traffic.Workload{
			Name: c.Namespace + "/" + c.Name, Namespace: c.Namespace, Labels: maps.Clone(spec.Labels), Address: spec.Address, Entry: true,
			Origin: in.origins[ref].Object,
		},
		serviceAccount: spec.ServiceAccount, annotations: c.Annotations, entry: spec,
	}
	if w.Labels == nil {
		w.Labels = map[string]string{}
	}
	mode, said := w.Labels[label.SecurityTlsMode.Name]
	if said && mode == model.IstioMutualTLSModeLabel || !said && spec.ServiceAccount != "" {
		w.role, w.Sidecar = traffic.Sidecar, true
		w.Labels[label.SecurityTlsMode.Name] = model.IstioMutualTLSModeLabel
	}
	if spec.ServiceAccount != "" {
		w.Identity = fmt.Sprintf("%s/ns/%s/sa/%s", trustDomain(in.mesh), c.Namespace, spec.ServiceAccount)
	}
	return w
}

// behind tells whether a Service of Kubernetes has a workload behind it. Of
// WorkloadEntries, istiod puts those behind it that have labels, unless the
// flag for it is off.
func behind(svc *corev1.Service, w *workload) bool {
	if w.entry != nil && (!features.EnableK8SServiceSelectWorkloadEntries || svc.Spec.Type == corev1.ServiceTypeExternalName || svc.Spec.ClusterIP == corev1.ClusterIPNone) {
		return false
	}
	return selects(svc.Spec.Selector, svc.Namespace, w)
}

// entryTarget returns the port of a WorkloadEntry that a Service's port leads
// to: the one that the entry has under its name, else the number.
func (w *workload) entryTarget(p corev1.ServicePort) (uint32, bool) {
	name, number := p.Name, p.TargetPort.IntVal
	explicit := p.TargetPort.Type == intstr.String && p.TargetPort.StrVal != ""
	if explicit {
		name, number = p.TargetPort.StrVal, 0
	}
	if port := w.entry.Ports[name]; port != 0 {
		return port, true
	}
	if explicit {
		return 0, false
	}
	if number == 0 {
		number = p.Port
	}
	return uint32(number), true
}

// describe adds to an endpoint what an entry says of its place.
func (w *workload) describe(e *model.IstioEndpoint) {
	if w.entry == nil {
		return
	}
	e.LbWeight, e.Locality.Label = w.entry.Weight, w.entry.Locality
	e.HealthStatus = 0 // istiod knows that of pods alone
	if w.Identity == "" {
		e.ServiceAccount = ""
	}
}

// pods are the workloads that have some: neither those that are scaled to none,
// nor WorkloadEntries, which istiod's registry of ServiceEntries knows by itself.
func (in *input) pods() []*workload {
	return slices.DeleteFunc(slices.Clone(in.workloads), func(w *workload) bool { return w.entry != nil || w.Idle })
}
