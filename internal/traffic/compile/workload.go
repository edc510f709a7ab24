package compile

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"

	"istio.io/api/annotation"
	"istio.io/api/label"
	networking "istio.io/api/networking/v1alpha3"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
	"mizzen.dev/mizzen/internal/traffic/inject"
)

// workload is a Workload with what istiod reads of its pods. Git has no pods:
// each workload gets one.
type workload struct {
	traffic.Workload
	role  traffic.Role
	ports []corev1.ContainerPort
	// serviceAccount is the name within the namespace.
	serviceAccount string
	annotations    map[string]string
	// entry is set if it is no pod but a WorkloadEntry.
	entry *networking.WorkloadEntry
	// redirected: a ztunnel takes what it sends and gets.
	redirected bool
	// hostNetwork: its pods are on the network of the node, where nothing is
	// intercepted.
	hostNetwork bool
}

// podTemplates says where the pod is described, by kind.
var podTemplates = map[string][]string{
	"Deployment": {"spec", "template"}, "StatefulSet": {"spec", "template"}, "DaemonSet": {"spec", "template"},
	"ReplicaSet": {"spec", "template"}, "ReplicationController": {"spec", "template"}, "Rollout": {"spec", "template"},
	"Job": {"spec", "template"}, "CronJob": {"spec", "jobTemplate", "spec", "template"}, "Pod": {},
}

// addWorkload files whatever has a pod template.
func (in *input) addWorkload(object mizzen.Object) {
	path, known := podTemplates[object.GetKind()]
	if !known {
		return
	}
	template := object.Object
	if len(path) > 0 {
		var err error
		if template, _, err = unstructured.NestedMap(object.Object, path...); err != nil || template == nil {
			return // without a template there are no pods, as when a Rollout refers to a Deployment
		}
	}
	var pod corev1.PodTemplateSpec
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(template, &pod); err != nil {
		in.reject(object.Ref(), mizzen.Path(strings.Join(path, ".")), err.Error())
		return
	}
	w := podWorkload(object.GetNamespace(), object.GetName(), pod.ObjectMeta, pod.Spec)
	w.Origin = object.Origins.Object
	w.Idle = in.idle(object)
	in.workloads = append(in.workloads, w)
}

func podWorkload(namespace, name string, meta metav1.ObjectMeta, spec corev1.PodSpec) *workload {
	w := &workload{
		Workload:       traffic.Workload{Name: namespace + "/" + name, Namespace: namespace, Labels: maps.Clone(meta.Labels)},
		serviceAccount: spec.ServiceAccountName, annotations: meta.Annotations, hostNetwork: spec.HostNetwork,
	}
	if w.Labels == nil {
		w.Labels = map[string]string{}
	}
	if w.serviceAccount == "" {
		w.serviceAccount = "default"
	}
	w.OnNode = spec.HostNetwork
	for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
		w.ports = append(w.ports, c.Ports...)
		w.OnNode = w.OnNode || slices.ContainsFunc(c.Ports, func(p corev1.ContainerPort) bool { return p.HostPort != 0 })
		if c.Name != "istio-proxy" {
			continue
		}
		switch {
		case slices.Contains(c.Args, "router"):
			w.role = traffic.Gateway
		case slices.Contains(c.Args, "waypoint"):
			w.role = traffic.Waypoint
		}
	}
	if strings.Contains(meta.Annotations["inject.istio.io/templates"], "gateway") {
		w.role = traffic.Gateway
	}
	return w
}

// inject decides which workloads have a sidecar, as the webhooks do: by the
// labels of the namespace and of the pod. A namespace that no object describes
// is taken for one with injection, unless it is the mesh's or Kubernetes' own:
// most repositories hold the services, not the namespaces.
func (in *input) inject(root string) {
	for _, w := range in.workloads {
		if _, seen := in.injected[w.Namespace]; !seen {
			in.injected[w.Namespace] = w.Namespace != root && !strings.HasPrefix(w.Namespace, "kube-")
		}
	}
	for name, ns := range in.namespaces {
		_, in.injected[name] = in.injectors.Namespace(name, ns.Labels)
	}
	for _, w := range in.workloads {
		in.injectPod(w)
	}
}

// injectPod gives a workload what the webhook gives its pods.
func (in *input) injectPod(w *workload) {
	w.Identity = fmt.Sprintf("%s/ns/%s/sa/%s", trustDomain(in.mesh), w.Namespace, w.serviceAccount)
	settings := in.injectorOf(w)
	w.Sidecar = in.asksFor(w, settings)
	if w.role == "" && w.Sidecar {
		w.role = traffic.Sidecar
		w.Bypass = bypassOf(w.annotations, in.mesh.GetDefaultConfig().GetInterceptionMode(), settings.Capture)
	}
	if w.role == traffic.Sidecar {
		w.Labels[label.SecurityTlsMode.Name] = "istio"
	}
	w.Sidecar = w.Sidecar || w.role != ""
}

// asksFor tells whether the injector gives the pods of a workload what it asks
// for, or what its namespace does.
func (in *input) asksFor(w *workload, settings inject.Settings) bool {
	asked := w.Labels[label.SidecarInject.Name]
	if asked == "" {
		asked = w.annotations[annotation.SidecarInject.Name]
	}
	sidecar := in.injected[w.Namespace] && asked != "false" || asked == "true"
	if in.webhooksTell(w) {
		var labels map[string]string
		if ns := in.namespaces[w.Namespace]; ns != nil {
			labels = ns.Labels
		}
		_, asks := in.injectors.Find(w.Namespace, labels, w.Labels)
		sidecar = asks && asked != "false"
	}
	// It skips pods of the node's network, whatever they ask for.
	return sidecar && (asked == "true" || settings.Decides(w.Labels)) && !w.hostNetwork
}

// webhooksTell tells whether the webhooks decide about a workload: of a namespace
// that is described, or if it names a revision by itself, which says nothing in a
// namespace with labels of its own.
func (in *input) webhooksTell(w *workload) bool {
	return in.injectors.Known() && (in.namespaces[w.Namespace] != nil || w.Labels[label.IoIstioRev.Name] != "")
}

// target returns the port of the pod that a Service's port leads to.
func (w *workload) target(p corev1.ServicePort) (uint32, bool) {
	if w.entry != nil {
		return w.entryTarget(p)
	}
	if p.TargetPort.Type == intstr.String {
		for _, c := range w.ports {
			if c.Name == p.TargetPort.StrVal {
				return uint32(c.ContainerPort), true
			}
		}
		return 0, false
	}
	if p.TargetPort.IntVal == 0 {
		return uint32(p.Port), true
	}
	return uint32(p.TargetPort.IntVal), true
}

// selects tells whether a selector takes a workload; an empty one takes none.
func selects(selector map[string]string, namespace string, w *workload) bool {
	if len(selector) == 0 || namespace != w.Namespace {
		return false
	}
	for k, v := range selector {
		if got, ok := w.Labels[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// addressServices gives each Service an address if it has none of its own.
func (in *input) addressServices() {
	services := addresses{network: traffic.ServiceNetwork}
	for _, svc := range in.services {
		if svc.Spec.ClusterIP == "" && svc.Spec.Type != corev1.ServiceTypeExternalName {
			svc.Spec.ClusterIP = services.of(svc.Namespace + "/" + svc.Name)
		}
	}
}

// addresses invents addresses of a network of 12 bits. An address hangs on the
// name alone, but for the rare two names that want the same, so that one
// object more does not give others a new one.
type addresses struct {
	network netip.Prefix
	taken   map[uint32]bool
}

func (a *addresses) of(name string) string {
	const bits = 20
	h := fnv.New32a()
	_, _ = h.Write([]byte(name)) // never fails
	host := h.Sum32() % (1 << bits)
	if a.taken == nil {
		a.taken = map[uint32]bool{}
	}
	for host == 0 || a.taken[host] {
		host = (host + 1) % (1 << bits)
	}
	a.taken[host] = true
	base := binary.BigEndian.Uint32(a.network.Addr().AsSlice())
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, base+host))).String()
}

// gatewayName is the label by which istiod marks what it deploys for a Gateway
// of the Gateway API.
const gatewayName = "gateway.networking.k8s.io/gateway-name"

// istioClass are the GatewayClasses that istiod deploys proxies for.
var istioClass = map[string]bool{"istio": true}
