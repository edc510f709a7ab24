package compile

import (
	"cmp"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	ingressapi "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayapi "sigs.k8s.io/gateway-api/apis/v1"

	"istio.io/api/annotation"
	networking "istio.io/api/networking/v1alpha3"
	ingressctl "istio.io/istio/pilot/pkg/config/kube/ingress"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
)

// deployGateways adds the workloads and Services that istiod deploys for
// Gateways of the Gateway API, since Git does not hold them.
func (in *input) deployGateways() {
	for _, o := range in.kube {
		gw, ok := o.(*gatewayapi.Gateway)
		if !ok || !istioClass[string(gw.Spec.GatewayClassName)] || len(gw.Spec.Addresses) > 0 {
			continue
		}
		name := gw.Name + "-" + string(gw.Spec.GatewayClassName)
		var ports []uint32
		for _, l := range gw.Spec.Listeners {
			ports = append(ports, uint32(l.Port))
		}
		ref := mizzen.Ref{Group: gatewayapi.GroupName, Kind: "Gateway", Namespace: gw.Namespace, Name: gw.Name}
		in.serviceTypes[ref] = gw.Annotations[annotation.NetworkingServiceType.Name]
		in.standIn(gw.Namespace, name, map[string]string{gatewayName: gw.Name}, ports, ref)
	}
}

// standIns adds a workload for each of Istio's Gateways whose selector takes
// none, and for Ingresses: their proxies are deployed from elsewhere.
func (in *input) standIns(root string) {
	for _, c := range in.configs {
		gw, ok := c.Spec.(*networking.Gateway)
		if !ok || len(gw.Selector) == 0 || slices.ContainsFunc(in.workloads, func(w *workload) bool { return taken(gw.Selector, w) }) {
			continue
		}
		var ports []uint32
		for _, s := range gw.Servers {
			ports = append(ports, s.GetPort().GetNumber())
		}
		name := gw.Selector["istio"]
		if name == "" {
			name = c.Name
		}
		in.standIn(root, name, gw.Selector, ports, mizzen.Ref{Group: c.GroupVersionKind.Group, Kind: "Gateway", Namespace: c.Namespace, Name: c.Name})
	}
	name := cmp.Or(in.mesh.IngressSelector, "ingressgateway") // istiod's own default
	selector := map[string]string{"istio": name}
	for _, o := range in.kube {
		if ingress, ok := o.(*ingressapi.Ingress); ok && !slices.ContainsFunc(in.workloads, func(w *workload) bool { return taken(selector, w) }) {
			in.standIn(root, name, selector, []uint32{80, 443},
				mizzen.Ref{Group: ingressapi.GroupName, Kind: "Ingress", Namespace: ingress.Namespace, Name: ingress.Name})
		}
	}
}

// ingressClasses adds the IngressClass of Istio where Ingresses name it and no
// object is it: whoever installs the class, Istio's own documentation calls it so.
func (in *input) ingressClasses() {
	has := map[string]bool{}
	for _, o := range in.kube {
		if class, ok := o.(*ingressapi.IngressClass); ok {
			has[class.Name] = true
		}
	}
	for _, o := range in.kube {
		ingress, ok := o.(*ingressapi.Ingress)
		if !ok || ingress.Spec.IngressClassName == nil {
			continue
		}
		name := *ingress.Spec.IngressClassName
		if has[name] || name != "istio" && name != in.mesh.IngressClass {
			continue
		}
		has[name] = true
		class := &ingressapi.IngressClass{ObjectMeta: metav1.ObjectMeta{Name: name}}
		class.SetGroupVersionKind(ingressapi.SchemeGroupVersion.WithKind("IngressClass"))
		class.Spec.Controller = ingressctl.IstioIngressController
		in.kube = append(in.kube, class)
	}
}

// taken tells whether a Gateway's selector takes a workload, of any namespace.
// Whatever it takes is a gateway.
func taken(selector map[string]string, w *workload) bool {
	if !selects(selector, w.Namespace, w) {
		return false
	}
	w.role, w.Sidecar = traffic.Gateway, true
	return true
}

// standIn adds a gateway's workload, and a Service with its ports, unless the
// objects have them: those of a cluster do.
func (in *input) standIn(namespace, name string, labels map[string]string, ports []uint32, cause mizzen.Ref) {
	if !slices.ContainsFunc(in.workloads, func(w *workload) bool { return w.Name == namespace+"/"+name }) {
		w := podWorkload(namespace, name, metav1.ObjectMeta{Labels: labels}, corev1.PodSpec{ServiceAccountName: name})
		w.role, w.Sidecar, w.Elsewhere = traffic.Gateway, true, cause.Kind != "Gateway" || cause.Group != gatewayapi.GroupName
		w.Identity = trustDomain(in.mesh) + "/ns/" + namespace + "/sa/" + name
		w.Origin = in.origins[cause].Object
		in.workloads = append(in.workloads, w)
	}
	if slices.ContainsFunc(in.services, func(s *corev1.Service) bool { return s.Namespace == namespace && s.Name == name }) {
		return
	}
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: maps.Clone(labels)}}
	svc.Spec.Selector, svc.Spec.Type = maps.Clone(labels), corev1.ServiceType(cmp.Or(in.serviceTypes[cause], string(corev1.ServiceTypeLoadBalancer)))
	slices.Sort(ports)
	for _, p := range slices.Compact(ports) {
		svc.Spec.Ports = append(svc.Spec.Ports, corev1.ServicePort{Name: portName(p), Port: int32(p), Protocol: corev1.ProtocolTCP})
	}
	in.services = append(in.services, svc)
}
