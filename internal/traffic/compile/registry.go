package compile

import (
	"cmp"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/pkg/serviceregistry/kube"
	"istio.io/istio/pilot/pkg/serviceregistry/provider"
	"istio.io/istio/pkg/cluster"
	"istio.io/istio/pkg/config/host"
	"istio.io/istio/pkg/config/labels"
	"istio.io/istio/pkg/spiffe"

	"mizzen.dev/mizzen/internal/traffic"
)

// clusterID is what istiod calls its own cluster unless told otherwise.
const clusterID = cluster.ID("Kubernetes")

// registry is the Services of Kubernetes and the pods behind them. It never
// changes, so there is nothing to handle and nothing to wait for.
type registry struct {
	model.NetworkGatewaysHandler
	services []*model.Service
	byHost   map[host.Name]*model.Service
	// targets and labels are by address of a workload.
	targets map[string][]model.ServiceTarget
	labels  map[string]labels.Instance
	// endpoints are by Service.
	endpoints map[host.Name][]*model.IstioEndpoint
}

func newRegistry(in *input) *registry {
	r := &registry{
		byHost: map[host.Name]*model.Service{}, targets: map[string][]model.ServiceTarget{},
		labels: map[string]labels.Instance{}, endpoints: map[host.Name][]*model.IstioEndpoint{},
	}
	byNamespace := map[string][]*workload{}
	for _, w := range in.workloads {
		r.labels[w.Address] = w.Labels
		byNamespace[w.Namespace] = append(byNamespace[w.Namespace], w)
	}
	for _, svc := range in.services {
		var annotations map[string]string
		if ns := in.namespaces[svc.Namespace]; ns != nil {
			annotations = ns.Annotations
		}
		converted := kube.ConvertService(*svc, annotations, domain, clusterID, trustDomain(in.mesh))
		if r.byHost[converted.Hostname] != nil {
			continue // rendered twice: linting says so
		}
		r.services = append(r.services, converted)
		r.byHost[converted.Hostname] = converted
		r.attachSlices(svc, converted, in.slices)
		for _, w := range byNamespace[svc.Namespace] {
			if behind(svc, w) {
				r.attach(svc, converted, w)
			}
		}
	}
	// As istiod does for conflicting ports: the older Service first, then by name.
	for _, targets := range r.targets {
		slices.SortStableFunc(targets, func(a, b model.ServiceTarget) int { return cmp.Compare(a.Service.Hostname, b.Service.Hostname) })
	}
	return r
}

// attach puts a workload behind a Service.
func (r *registry) attach(svc *corev1.Service, converted *model.Service, w *workload) {
	for i, port := range converted.Ports {
		target, ok := w.target(svc.Spec.Ports[i])
		if !ok {
			continue
		}
		w.Ports = append(w.Ports, traffic.ServicePort{
			Port: uint32(port.Port), Target: target, Service: svc.Namespace + "/" + svc.Name, Outside: outside(svc),
		})
		r.targets[w.Address] = append(r.targets[w.Address], model.ServiceTarget{
			Service: converted, Port: model.ServiceInstancePort{ServicePort: port, TargetPort: target},
		})
		if w.Idle {
			continue // it has no pods, though what they accept is known
		}
		e := w.endpoint()
		e.EndpointPort, e.ServicePortName, e.LegacyClusterPortKey = target, port.Name, port.Port
		r.endpoints[converted.Hostname] = append(r.endpoints[converted.Hostname], e)
	}
}

// outside says by what clients outside of the cluster reach a Service.
func outside(svc *corev1.Service) string {
	switch svc.Spec.Type {
	case corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeNodePort:
		return string(svc.Spec.Type)
	}
	if len(svc.Spec.ExternalIPs) > 0 {
		return "externalIPs"
	}
	return ""
}

// endpoint returns the workload's pod as istiod sees it, without a port. Only
// what the webhook labels so is reached with mutual TLS: no gateway is.
func (w *workload) endpoint() *model.IstioEndpoint {
	e := &model.IstioEndpoint{
		Addresses: []string{w.Address}, Labels: w.Labels, TLSMode: model.GetTLSModeFromEndpointLabels(w.Labels),
		Namespace: w.Namespace, WorkloadName: shortName(w), ServiceAccount: spiffe.URIPrefix + w.Identity,
		Locality: model.Locality{ClusterID: clusterID}, HealthStatus: model.Healthy,
	}
	w.describe(e)
	return e
}

// instances are the pods as what a ServiceEntry may select.
func (r *registry) instances(workloads []*workload) (out []*model.WorkloadInstance) {
	for _, w := range workloads {
		out = append(out, &model.WorkloadInstance{Name: shortName(w), Namespace: w.Namespace, Kind: model.PodKind, Endpoint: w.endpoint()})
	}
	return out
}

func shortName(w *workload) string { return w.Name[len(w.Namespace)+1:] }

func portName(p uint32) string {
	switch p {
	case 443, 8443:
		return fmt.Sprintf("https-%d", p)
	case 80, 8080:
		return fmt.Sprintf("http2-%d", p)
	}
	return fmt.Sprintf("tcp-%d", p)
}

// publish tells istiod's index of endpoints what is behind the Services.
func (r *registry) publish(u model.XDSUpdater) {
	shard := model.ShardKey{Cluster: clusterID, Provider: provider.Kubernetes}
	for _, svc := range r.services {
		u.EDSUpdate(shard, string(svc.Hostname), svc.Attributes.Namespace, r.endpoints[svc.Hostname])
	}
}

// What follows is istiod's interface of a registry.

func (r *registry) Services() []*model.Service                   { return r.services }
func (r *registry) GetService(hostname host.Name) *model.Service { return r.byHost[hostname] }

func (r *registry) GetProxyServiceTargets(p *model.Proxy) []model.ServiceTarget {
	return r.targets[p.IPAddresses[0]]
}

func (r *registry) GetProxyWorkloadLabels(p *model.Proxy) labels.Instance {
	return r.labels[p.IPAddresses[0]]
}

func (r *registry) MCSServices() []model.MCSServiceInfo                              { return nil }
func (r *registry) NetworkGateways() []model.NetworkGateway                          { return nil }
func (r *registry) AppendServiceHandler(model.ServiceHandler)                        {}
func (r *registry) AppendWorkloadHandler(func(*model.WorkloadInstance, model.Event)) {}
func (r *registry) Run(<-chan struct{})                                              {}
func (r *registry) HasSynced() bool                                                  { return true }
