package compile

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	gatewayapi "sigs.k8s.io/gateway-api/apis/v1"

	networking "istio.io/api/networking/v1alpha3"
	security "istio.io/api/security/v1beta1"
	networkingclient "istio.io/client-go/pkg/apis/networking/v1"
	securityclient "istio.io/client-go/pkg/apis/security/v1"
	"istio.io/istio/pilot/pkg/features"
	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/pkg/serviceregistry/ambient"
	"istio.io/istio/pkg/activenotifier"
	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/constants"
	"istio.io/istio/pkg/config/mesh/meshwatcher"
	"istio.io/istio/pkg/config/schema/gvr"
	kubelib "istio.io/istio/pkg/kube"
	"istio.io/istio/pkg/kube/krt"
	"istio.io/istio/pkg/kube/multicluster"
	"istio.io/istio/pkg/test"
	"istio.io/istio/pkg/workloadapi"
	workloadsecurity "istio.io/istio/pkg/workloadapi/security"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
)

// ambientKinds are what the index of the ambient mesh reads beside the Gateway
// API's kinds.
var ambientKinds = append(slices.Clip(watched), gvr.AuthorizationPolicy, gvr.PeerAuthentication, gvr.WorkloadEntry)

// ambientObjects are what the index reads, as its API server would have it.
func (in *input) ambientObjects() []runtime.Object {
	out := []runtime.Object{&gatewayapi.GatewayClass{
		ObjectMeta: metav1.ObjectMeta{Name: constants.WaypointGatewayClassName},
		Spec:       gatewayapi.GatewayClassSpec{ControllerName: constants.ManagedGatewayMeshController},
	}}
	for _, o := range in.kube {
		if class, ok := o.(*gatewayapi.GatewayClass); ok && class.Name == constants.WaypointGatewayClassName {
			out = nil // it is there as it is
		}
	}
	for _, w := range in.pods() {
		out = append(out, w.pod())
	}
	for _, c := range in.configs {
		if o := typed(c); o != nil {
			out = append(out, o)
		}
	}
	return out
}

// typed returns an object of Istio's as its client has it; nil for kinds that
// the index does not read.
func typed(c config.Config) runtime.Object {
	meta := metav1.ObjectMeta{
		Name: c.Name, Namespace: c.Namespace, Labels: c.Labels, Annotations: c.Annotations, CreationTimestamp: metav1.NewTime(c.CreationTimestamp),
	}
	switch spec := c.Spec.(type) {
	case *security.AuthorizationPolicy:
		o := &securityclient.AuthorizationPolicy{ObjectMeta: meta}
		spec.DeepCopyInto(&o.Spec)
		return o
	case *security.PeerAuthentication:
		o := &securityclient.PeerAuthentication{ObjectMeta: meta}
		spec.DeepCopyInto(&o.Spec)
		return o
	case *networking.ServiceEntry:
		o := &networkingclient.ServiceEntry{ObjectMeta: meta}
		spec.DeepCopyInto(&o.Spec)
		return o
	case *networking.WorkloadEntry:
		o := &networkingclient.WorkloadEntry{ObjectMeta: meta}
		spec.DeepCopyInto(&o.Spec)
		return o
	}
	return nil
}

// newAmbient starts istiod's index of the ambient mesh; it is filled once the
// client runs.
func newAmbient(t test.Failer, in *input, client kubelib.Client, updater model.XDSUpdater) (ambient.Index, error) {
	watcher := meshwatcher.NewTestWatcher(in.mesh)
	clusters := multicluster.NewController(multicluster.ControllerOptions{
		Client: client, ClusterID: clusterID, SystemNamespace: in.mesh.RootNamespace, MeshConfig: watcher, Debugger: krt.GlobalDebugHandler,
	})
	index := ambient.New(ambient.Options{
		SystemNamespace: in.mesh.RootNamespace, DomainSuffix: domain, ClusterID: clusterID, XDSUpdater: updater, MeshConfig: watcher,
		StatusNotifier: activenotifier.New(false), Debugger: krt.GlobalDebugHandler, MultiClusterController: clusters,
		Flags: ambient.FeatureFlags{
			DefaultAllowFromWaypoint:              features.DefaultAllowFromWaypoint,
			EnableK8SServiceSelectWorkloadEntries: features.EnableK8SServiceSelectWorkloadEntries,
		},
	})
	stop := test.NewStop(t)
	if err := clusters.Run(stop); err != nil {
		return nil, fmt.Errorf("index of the ambient mesh: %w", err)
	}
	go index.Run(stop)
	return index, nil
}

// ambientMesh is what the index says, by names of workloads and hosts.
type ambientMesh struct {
	// waypoints are the ways to a host that lead through waypoints.
	waypoints map[string][]traffic.WaypointShare
	// policies are by address of a workload, those of the mesh and of namespaces
	// by scope.
	policies map[string][]string
	all      []*workloadsecurity.Authorization
}

// readAmbient asks the index what ztunnels would be told.
func readAmbient(index ambient.Index, in *input, r *registry) *ambientMesh {
	m := &ambientMesh{waypoints: map[string][]traffic.WaypointShare{}, policies: map[string][]string{}}
	at := map[string]*workload{}
	byHost := map[string]string{}
	for _, w := range in.workloads {
		at[w.Address] = w
		if w.role == traffic.Waypoint {
			for _, t := range r.targets[w.Address] {
				byHost[string(t.Service.Hostname)] = w.Name
			}
		}
	}
	for _, s := range index.ServicesWithWaypoint("") {
		m.waypoints[s.Service.Hostname] = sharesOf(s, byHost)
	}
	m.unbound(index, in)
	for _, info := range index.All() {
		w := info.GetWorkload()
		for _, raw := range w.GetAddresses() {
			if ip, ok := netip.AddrFromSlice(raw); ok {
				m.policies[ip.String()] = w.GetAuthorizationPolicies()
				if known := at[ip.String()]; known != nil {
					known.Waypoint = byHost[waypointHost(w.GetWaypoint(), r)]
				}
			}
		}
	}
	for _, p := range index.Policies(nil) {
		m.all = append(m.all, p.Authorization)
	}
	slices.SortFunc(m.all, func(a, b *workloadsecurity.Authorization) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return m
}

// sharesOf are the waypoints of a Service, by the names that their workloads
// have by the host of their own Service.
func sharesOf(s model.ServiceWaypointInfo, byHost map[string]string) []traffic.WaypointShare {
	if len(s.WeightedWaypoints) == 0 {
		return []traffic.WaypointShare{{Waypoint: byHost[s.WaypointHostname], Percent: 100}}
	}
	var shares []traffic.WaypointShare
	for _, ww := range s.WeightedWaypoints {
		shares = append(shares, traffic.WaypointShare{Waypoint: byHost[ww.Hostname], Percent: float64(ww.Weight)})
	}
	return shares
}

// unbound looks at Services that name a waypoint without getting it. One that
// is not among the objects may run all the same: its share is known, and what it
// does is not.
func (m *ambientMesh) unbound(index ambient.Index, in *input) {
	for _, svc := range in.services {
		name, here, ok := in.waypointOf(svc)
		host := svc.Name + "." + svc.Namespace + ".svc." + domain
		if !ok || m.waypoints[host] != nil {
			continue
		}
		if !here {
			m.waypoints[host] = []traffic.WaypointShare{{Waypoint: name, Percent: 100}}
			continue
		}
		if info := index.ServiceInfo(svc.Namespace + "/" + host); info != nil && info.Waypoint.Error != nil {
			in.reject(mizzen.Ref{Kind: "Service", Namespace: svc.Namespace, Name: svc.Name}, "metadata.labels", info.Waypoint.Error.Message)
		}
	}
}

// waypointHost is the host of the Service by which a waypoint is reached.
func waypointHost(a *workloadapi.GatewayAddress, r *registry) string {
	if host := a.GetHostname().GetHostname(); host != "" {
		return host
	}
	ip, ok := netip.AddrFromSlice(a.GetAddress().GetAddress())
	for _, s := range r.services {
		if ok && slices.Contains(s.ClusterVIPs.GetAddressesFor(clusterID), ip.String()) {
			return string(s.Hostname)
		}
	}
	return ""
}

// of returns the policies that a ztunnel enforces for a workload.
func (m *ambientMesh) of(w *workload) []*workloadsecurity.Authorization {
	var out []*workloadsecurity.Authorization
	for _, p := range m.all {
		named := slices.Contains(m.policies[w.Address], p.Namespace+"/"+p.Name)
		scoped := p.Scope == workloadsecurity.Scope_GLOBAL || p.Scope == workloadsecurity.Scope_NAMESPACE && p.Namespace == w.Namespace
		if named || scoped {
			out = append(out, p)
		}
	}
	return out
}
