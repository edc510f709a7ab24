package compile

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/ptr"

	"istio.io/istio/pilot/pkg/model"

	"mizzen.dev/mizzen"
)

// addEndpoints files what Git says to be behind Services without a selector. Of
// those with one the cluster's controllers write that.
func (in *input) addEndpoints(object mizzen.Object) {
	switch object.GetKind() {
	case "EndpointSlice":
		if slice, ok := decode[*discoveryv1.EndpointSlice](in, object); ok {
			in.slices = append(in.slices, slice)
		}
	case "Endpoints":
		if e, ok := decode[*corev1.Endpoints](in, object); ok { //nolint:staticcheck // people write them
			in.slices = append(in.slices, mirrored(e)...)
		}
	}
}

// mirrored makes slices of Endpoints, as the cluster's controller does.
func mirrored(e *corev1.Endpoints) []*discoveryv1.EndpointSlice { //nolint:staticcheck // people write them
	var out []*discoveryv1.EndpointSlice
	for _, subset := range e.Subsets {
		s := &discoveryv1.EndpointSlice{}
		s.Namespace, s.Labels = e.Namespace, map[string]string{discoveryv1.LabelServiceName: e.Name}
		for _, p := range subset.Ports {
			s.Ports = append(s.Ports, discoveryv1.EndpointPort{Name: &p.Name, Port: &p.Port})
		}
		for _, a := range subset.Addresses {
			s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{a.IP}})
		}
		out = append(out, s)
	}
	return out
}

// attachSlices puts the addresses of slices behind a Service that selects
// nothing. Nobody knows of a proxy there, so that they are reached in plaintext.
func (r *registry) attachSlices(svc *corev1.Service, converted *model.Service, all []*discoveryv1.EndpointSlice) {
	if len(svc.Spec.Selector) > 0 || converted.Resolution == model.Alias {
		return
	}
	for _, s := range all {
		if s.Namespace != svc.Namespace || s.Labels[discoveryv1.LabelServiceName] != svc.Name {
			continue
		}
		for _, e := range s.Endpoints {
			if ptr.Deref(e.Conditions.Ready, true) {
				r.attachAddresses(converted, s.Ports, e.Addresses)
			}
		}
	}
}

func (r *registry) attachAddresses(converted *model.Service, ports []discoveryv1.EndpointPort, addresses []string) {
	for _, port := range converted.Ports {
		for _, p := range ports {
			if p.Port == nil || ptr.Deref(p.Name, "") != port.Name {
				continue
			}
			for _, a := range addresses {
				r.endpoints[converted.Hostname] = append(r.endpoints[converted.Hostname], &model.IstioEndpoint{
					Addresses: []string{a}, EndpointPort: uint32(*p.Port), ServicePortName: port.Name, LegacyClusterPortKey: port.Port, //nolint:gosec // a port has 16 bits
					Namespace: converted.Attributes.Namespace, TLSMode: model.DisabledTLSModeLabel,
					Locality: model.Locality{ClusterID: clusterID}, HealthStatus: model.Healthy,
				})
			}
		}
	}
}
