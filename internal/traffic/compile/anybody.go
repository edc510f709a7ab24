package compile

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"istio.io/api/label"
	networking "istio.io/api/networking/v1alpha3"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
)

// Selection is what an object asks of what is beside it: of workloads, their
// namespace, empty for any, and labels; of a Service, its name, and a port or
// a subset, that of workloads with the labels.
type Selection struct {
	Namespace string            `json:"namespace,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"`
	Service   string            `json:"service,omitempty"`
	Subset    string            `json:"subset,omitempty"`
	// Protocol is http, tls or tcp; Port is 0 where any will do.
	Protocol string `json:"protocol,omitempty"`
	Port     uint32 `json:"port,omitempty"`
}

// The names of workloads and namespaces that nobody has named.
const (
	anyWorkload  = "any-workload"
	anyNamespace = "any-namespace"
)

// selecting are the kinds that are about sidecars, and where they have labels.
var selecting = map[mizzen.Ref][]string{
	{Group: "security.istio.io", Kind: "PeerAuthentication"}:    {"spec", "selector", "matchLabels"},
	{Group: "security.istio.io", Kind: "AuthorizationPolicy"}:   {"spec", "selector", "matchLabels"},
	{Group: "security.istio.io", Kind: "RequestAuthentication"}: {"spec", "selector", "matchLabels"},
	{Group: "telemetry.istio.io", Kind: "Telemetry"}:            {"spec", "selector", "matchLabels"},
	{Group: "networking.istio.io", Kind: "Sidecar"}:             {"spec", "workloadSelector", "labels"},
}

// Selections returns what the changed objects ask of workloads and Services,
// sorted. Both sides of a change are compiled with those of both, so that a
// policy that comes or goes has somebody to be seen at.
func Selections(changed []mizzen.Object, root string) []Selection {
	root = cmp.Or(root, DefaultRoot)
	var out []Selection
	for _, o := range changed {
		if path, known := selecting[kindOf(o)]; known {
			out = append(out, selectionOf(o, path, root)...)
		}
		switch kindOf(o) {
		case mizzen.Ref{Group: "networking.istio.io", Kind: "VirtualService"}:
			out = append(out, destinationsOf(o)...)
		case mizzen.Ref{Group: "networking.istio.io", Kind: "DestinationRule"}:
			out = append(out, subsetsOf(o)...)
		}
	}
	slices.SortFunc(out, compareSelections)
	return slices.CompactFunc(out, func(a, b Selection) bool { return compareSelections(a, b) == 0 })
}

// selectionOf reads which workloads a policy is about; none if it is about
// Services or Gateways.
func selectionOf(o mizzen.Object, path []string, root string) []Selection {
	for _, field := range []string{"targetRef", "targetRefs"} {
		if _, targets, err := unstructured.NestedFieldNoCopy(o.Object, "spec", field); targets || err != nil {
			return nil
		}
	}
	s := Selection{Namespace: o.GetNamespace()}
	if s.Namespace == root {
		s.Namespace = ""
	}
	var err error
	if s.Labels, _, err = unstructured.NestedStringMap(o.Object, path...); err != nil {
		return nil
	}
	return []Selection{s}
}

// destinationsOf returns the Services that a VirtualService leads to.
func destinationsOf(o mizzen.Object) []Selection {
	var out []Selection
	for _, protocol := range []string{"http", "tls", "tcp"} {
		routes, _, err := unstructured.NestedFieldNoCopy(o.Object, "spec", protocol)
		if err != nil {
			continue
		}
		eachHost(routes, func(host string, at map[string]any) {
			if s, ok := serviceOf(host, o.GetNamespace()); ok {
				port, _, _ := unstructured.NestedInt64(at, "port", "number") // 0 if it is no number
				s.Protocol, s.Port = protocol, uint32(max(min(port, 1<<16-1), 0))
				out = append(out, s)
			}
		})
	}
	return out
}

// subsetsOf returns the subsets of a DestinationRule.
func subsetsOf(o mizzen.Object) []Selection {
	host, _, err := unstructured.NestedString(o.Object, "spec", "host")
	if err != nil {
		return nil
	}
	s, ok := serviceOf(host, o.GetNamespace())
	if !ok {
		return nil
	}
	out := []Selection{s}
	list, _, err := unstructured.NestedSlice(o.Object, "spec", "subsets")
	if err != nil {
		return out
	}
	for _, item := range list {
		subset, _ := item.(map[string]any)
		name, _, nameErr := unstructured.NestedString(subset, "name")
		labels, _, labelsErr := unstructured.NestedStringMap(subset, "labels")
		if nameErr == nil && labelsErr == nil && name != "" {
			s.Subset, s.Labels = name, labels
			out = append(out, s)
		}
	}
	return out
}

// serviceOf reads a host name of Kubernetes.
func serviceOf(host, namespace string) (s Selection, ok bool) {
	name, ok := strings.CutSuffix(full(host, namespace), ".svc."+domain)
	s.Service, s.Namespace, _ = strings.Cut(name, ".")
	return s, ok && s.Service != "" && s.Service != "*" && s.Namespace != "" && !strings.Contains(s.Namespace, ".")
}

func compareSelections(a, b Selection) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Service, b.Service), cmp.Compare(a.Subset, b.Subset),
		cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Port, b.Port), cmp.Compare(labelText(a.Labels), labelText(b.Labels)))
}

func labelText(labels map[string]string) string {
	s := ""
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		s += k + "=" + labels[k] + ","
	}
	return s
}

// standInSidecars adds a workload for each selection of a namespace, or of a
// mesh, of which no workload with a sidecar is known, and a Service for each of
// a namespace of which nothing is known: who keeps policies and routes in a
// repository of their own deploys the workloads from elsewhere. Where some are
// known, a selection that takes none of them is a mistake, which linting tells.
func (in *input) standInSidecars(selections []Selection) {
	known := slices.Clone(in.workloads)
	all := in.absent(selections)
	// Who stands in for something else shows what is about the whole mesh.
	of := func(everybody bool) []Selection {
		return slices.DeleteFunc(slices.Clone(all), func(s Selection) bool { return s.everybody() != everybody })
	}
	for _, s := range slices.Concat(of(false), of(true)) {
		if s.everybody() {
			known = in.workloads
		}
		injected, told := in.injected[s.Namespace]
		met := slices.ContainsFunc(known, s.meets)
		if s.Service == "" && !met && (injected || !told) {
			s.Namespace, s.Service = cmp.Or(s.Namespace, anyNamespace), cmp.Or(s.Labels["app"], s.Labels["app.kubernetes.io/name"], anyWorkload)
		}
		if s.Service != "" {
			in.service(s)
		}
	}
}

// everybody tells whether it is about the whole mesh.
func (s Selection) everybody() bool { return s.Namespace == "" && len(s.Labels) == 0 }

// meets tells whether a workload shows what a selection does: any of its
// namespace, and of the mesh one with a sidecar, or one that it takes.
func (s Selection) meets(w *workload) bool {
	if s.Namespace != "" {
		return w.Namespace == s.Namespace && w.role != ""
	}
	return w.role.ForWorkload() || selects(s.Labels, w.Namespace, w)
}

// absent leaves out the Services of namespaces of which something is known: if
// one is not there, it is missing. To those that stay it adds their subsets.
func (in *input) absent(selections []Selection) []Selection {
	has := map[string]bool{}
	for _, svc := range in.services {
		has[svc.Namespace] = true
	}
	for _, w := range in.workloads {
		has[w.Namespace] = true
	}
	services := map[[2]string]bool{}
	var out []Selection
	for _, s := range selections {
		if s.Service == "" || !has[s.Namespace] {
			out = append(out, s)
			services[[2]string{s.Namespace, s.Service}] = s.Service != ""
		}
	}
	for _, c := range in.configs {
		rule, ok := c.Spec.(*networking.DestinationRule)
		if !ok {
			continue
		}
		s, ok := serviceOf(rule.GetHost(), c.Namespace)
		if !ok || !services[[2]string{s.Namespace, s.Service}] {
			continue
		}
		for _, subset := range rule.GetSubsets() {
			s.Subset, s.Labels = subset.GetName(), subset.GetLabels()
			out = append(out, s)
		}
	}
	slices.SortFunc(out, compareSelections)
	return out
}

// ofService is the label by which a Service that stands in finds its workloads.
const ofService = "mizzen.dev/stands-in-for"

// service adds a Service and its workload, and somebody who calls it.
func (in *input) service(s Selection) {
	port := s.Port
	if port == 0 {
		port = 80
	}
	i := slices.IndexFunc(in.services, func(svc *corev1.Service) bool { return svc.Namespace == s.Namespace && svc.Name == s.Service })
	if i < 0 {
		svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Service}}
		svc.Spec.Selector = map[string]string{ofService: s.Service}
		i, in.services = len(in.services), append(in.services, svc)
	}
	// A Service that the objects have stays as it is.
	if svc := in.services[i]; svc.Spec.Selector[ofService] != "" && !slices.ContainsFunc(svc.Spec.Ports, func(p corev1.ServicePort) bool { return p.Port == int32(port) }) {
		name := fmt.Sprintf("%s-%d", cmp.Or(s.Protocol, "http"), port)
		svc.Spec.Ports = append(svc.Spec.Ports, corev1.ServicePort{Name: name, Port: int32(port), Protocol: corev1.ProtocolTCP})
	}
	name := s.Service
	if s.Subset != "" {
		name += "-" + s.Subset
	}
	labels := maps.Clone(s.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	labels[ofService] = s.Service
	in.sidecar(s.Namespace, name, labels)
	in.sidecar(s.Namespace, anyWorkload, nil)
}

// sidecar adds a workload with a sidecar, unless it is there.
func (in *input) sidecar(namespace, name string, labels map[string]string) {
	w := podWorkload(namespace, name, metav1.ObjectMeta{Labels: labels}, corev1.PodSpec{ServiceAccountName: name})
	w.role, w.Sidecar = traffic.Sidecar, true
	w.Labels[label.SecurityTlsMode.Name] = "istio"
	w.Identity = trustDomain(in.mesh) + "/ns/" + namespace + "/sa/" + name
	if !slices.ContainsFunc(in.workloads, func(other *workload) bool { return other.Name == w.Name }) {
		in.workloads = append(in.workloads, w)
	}
}
