package compile

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	gatewayapi "sigs.k8s.io/gateway-api/apis/v1"

	"istio.io/api/annotation"
	"istio.io/api/label"
	"istio.io/istio/pilot/pkg/features"
	"istio.io/istio/pilot/pkg/serviceregistry/ambient"
	"istio.io/istio/pkg/config/constants"
	"istio.io/istio/pkg/ptr"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
)

// nameOverride is the annotation by which a Gateway names what istiod deploys.
const nameOverride = "gateway.istio.io/name-override"

// capture decides which workloads are of the ambient mesh, as Istio's CNI plugin
// does: by the label of the pod, else of the namespace, and never one with a
// proxy of its own.
// https://istio.io/latest/docs/ambient/usage/add-workloads/
func (in *input) capture() {
	if !features.EnableAmbient {
		return
	}
	for _, w := range in.workloads {
		mode := w.Labels[label.IoIstioDataplaneMode.Name]
		in.instead(w, mode)
		if ns := in.namespaces[w.Namespace]; mode == "" && ns != nil {
			mode = ns.Labels[label.IoIstioDataplaneMode.Name]
		}
		if mode != constants.DataplaneModeAmbient || w.role != "" || w.entry != nil || w.hostNetwork {
			continue
		}
		w.role, w.Ambient = traffic.Ztunnel, true
		w.redirected = true
	}
}

// instead takes the sidecar from a pod that is to be of the ambient mesh, if it
// has one only since nothing says what its namespace does.
func (in *input) instead(w *workload, mode string) {
	if mode == constants.DataplaneModeAmbient && w.role == traffic.Sidecar && in.namespaces[w.Namespace] == nil && w.Labels[label.SidecarInject.Name] == "" {
		w.role, w.Sidecar = "", false
		delete(w.Labels, label.SecurityTlsMode.Name)
	}
}

// waypointOf returns the Gateway that a Service names as its waypoint, by itself
// or by its namespace.
func (in *input) waypointOf(svc *corev1.Service) (name string, here, ok bool) {
	use, none := ambient.GetUseWaypoint(svc.ObjectMeta, svc.Namespace)
	if ns := in.namespaces[svc.Namespace]; use == nil && !none && ns != nil {
		use, _ = ambient.GetUseWaypoint(ns.ObjectMeta, svc.Namespace)
	}
	if use == nil || svc.Labels[label.GatewayManaged.Name] != "" {
		return "", false, false
	}
	here = slices.ContainsFunc(in.kube, func(o runtime.Object) bool {
		gw, isGateway := o.(*gatewayapi.Gateway)
		return isGateway && gw.Namespace == use.Namespace && gw.Name == use.Name
	})
	return use.Namespace + "/" + use.Name, here, true
}

// deployWaypoints adds the workloads and Services that istiod deploys for
// waypoints, and says of each Gateway where it is reached, as istiod does once
// they run.
func (in *input) deployWaypoints() {
	for _, o := range in.kube {
		gw, ok := o.(*gatewayapi.Gateway)
		if !ok || gw.Spec.GatewayClassName != constants.WaypointGatewayClassName {
			continue
		}
		ref := mizzen.Ref{Group: gatewayapi.GroupName, Kind: "Gateway", Namespace: gw.Namespace, Name: gw.Name}
		if !features.EnableAmbientWaypoints {
			in.reject(ref, "spec.gatewayClassName", "istiod's ambient mode is off (PILOT_ENABLE_AMBIENT)")
			continue
		}
		name := gw.Annotations[nameOverride]
		if name == "" {
			name = gw.Name
		}
		in.serviceTypes[ref] = string(corev1.ServiceTypeClusterIP)
		in.standIn(gw.Namespace, name, map[string]string{
			gatewayName: gw.Name, label.GatewayManaged.Name: constants.ManagedGatewayMeshControllerLabel,
		}, hbonePorts(gw), ref)
		for _, w := range in.workloads {
			if w.Name == gw.Namespace+"/"+name {
				w.role = traffic.Waypoint
			}
		}
		if len(gw.Status.Addresses) == 0 {
			gw.Status.Addresses = []gatewayapi.GatewayStatusAddress{{
				Type: ptr.Of(gatewayapi.HostnameAddressType), Value: name + "." + gw.Namespace + ".svc." + domain,
			}}
		}
	}
}

// hbonePorts are the ports at which a waypoint is reached.
func hbonePorts(gw *gatewayapi.Gateway) []uint32 {
	var ports []uint32
	for _, l := range gw.Spec.Listeners {
		ports = append(ports, uint32(l.Port))
	}
	return ports
}

// wantsAmbient tells whether there is anything for istiod's index of the
// ambient mesh.
func (in *input) wantsAmbient() bool {
	return features.EnableAmbient && slices.ContainsFunc(in.workloads, func(w *workload) bool {
		return w.role == traffic.Waypoint || w.role == traffic.Ztunnel
	})
}

// pod returns the workload as the API server has it.
func (w *workload) pod() *corev1.Pod {
	p := &corev1.Pod{}
	p.Name, p.Namespace, p.Labels = shortName(w), w.Namespace, w.Labels
	p.Spec.ServiceAccountName = w.serviceAccount
	p.Annotations = map[string]string{}
	if w.redirected {
		p.Annotations[annotation.AmbientRedirection.Name] = constants.AmbientRedirectionEnabled
	}
	for _, c := range w.ports {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "port-" + strings.ToLower(c.Name), Ports: []corev1.ContainerPort{c}})
	}
	p.Status = corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: w.Address, PodIPs: []corev1.PodIP{{IP: w.Address}},
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
	}
	return p
}
