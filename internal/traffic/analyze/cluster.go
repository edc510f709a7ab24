package analyze

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/mesh"
	"istio.io/istio/pkg/config/schema/gvk"

	"mizzen.dev/mizzen"
)

// newCatalog prepares what the analyzers see, and the Findings of objects that
// cannot be read.
func newCatalog(ctx context.Context, objects []mizzen.Object, known Known, o Options) (*catalog, []mizzen.Finding, error) {
	c := &catalog{ctx: ctx, known: known, options: o, byKind: map[config.GroupVersionKind]*collection{}}
	var findings []mizzen.Finding
	for _, object := range objects {
		i, err := safeConvert(object, true)
		if err != nil {
			findings = append(findings, unreadable(object, err))
		} else if i != nil {
			c.add(i)
		}
	}
	for _, object := range known.Objects {
		// What cannot be read of others is not this change's matter.
		if i, err := safeConvert(object, false); err == nil && i != nil {
			c.add(i)
		}
	}
	c.facts = gather(objects, known.Objects)
	if err := c.addMesh(); err != nil {
		return nil, nil, err
	}
	c.addNamespaces()
	for _, object := range slices.Concat(objects, known.Objects) {
		c.addPod(object)
	}
	c.addIngressGateway()
	c.sort()
	c.facts.index(c)
	return c, findings, nil
}

// safeConvert is convert without its panics: Kubernetes' converter has some for
// values that no YAML has.
func safeConvert(o mizzen.Object, judged bool) (i *instance, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("cannot be read: %v", p)
		}
	}()
	return convert(o, judged)
}

// unreadable is the Finding of an object with a field of a wrong type.
func unreadable(o mizzen.Object, err error) mizzen.Finding {
	return mizzen.Finding{
		Code: "IST0106", Severity: mizzen.Fatal, Message: sentence(err.Error()), Remedy: remedies["IST0106"],
		Ref: o.Ref(), Origin: o.Origins.Object,
	}
}

// addMesh adds the settings of the mesh, which analyzers read as objects.
func (c *catalog) addMesh() error {
	read := mesh.DefaultMeshConfig()
	if c.options.MeshConfig != "" {
		var err error
		if read, err = mesh.ApplyMeshConfigDefaults(c.options.MeshConfig); err != nil {
			return &mizzen.Error{
				Kind: mizzen.Invalid, Object: "mesh configuration", Err: err,
				Remedy: "correct it; its fields are listed at https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/",
			}
		}
	}
	if c.options.RootNamespace != "" {
		read.RootNamespace = c.options.RootNamespace
	}
	c.options.RootNamespace = read.GetRootNamespace()
	proto.Reset(&settings)
	proto.Merge(&settings, read)
	c.make(gvk.MeshConfig, newObject("MeshConfig", c.options.RootNamespace, "istio"), &settings)
	c.make(gvk.MeshNetworks, newObject("MeshNetworks", c.options.RootNamespace, "meshnetworks"), mesh.DefaultMeshNetworks())
	return nil
}

// make adds an object that was made up.
func (c *catalog) make(kind config.GroupVersionKind, o mizzen.Object, spec config.Spec) *instance {
	i := wrap(schemas[kind], o, spec)
	c.add(i)
	return i
}

// addNamespaces makes the namespaces that objects are in: a sync creates them,
// or they are there.
func (c *catalog) addNamespaces() {
	for _, name := range slices.Sorted(maps.Keys(c.facts.namespaces)) {
		if !c.has(gvk.Namespace, "", name) {
			c.make(gvk.Namespace, newObject("Namespace", "", name), &corev1.NamespaceSpec{})
		}
	}
}

// templates are where kinds of workloads say what their pods are.
var templates = map[string]mizzen.Path{
	"apps/Deployment": "spec.template", "apps/StatefulSet": "spec.template", "apps/DaemonSet": "spec.template",
	"apps/ReplicaSet": "spec.template", "batch/Job": "spec.template", "batch/CronJob": "spec.jobTemplate.spec.template",
	"argoproj.io/Rollout": "spec.template",
}

// addPod makes the pod that a workload will have. Git has none, and half of the
// analyzers look at nothing else.
func (c *catalog) addPod(o mizzen.Object) {
	gk := o.GroupVersionKind().GroupKind()
	at, ok := templates[gk.Group+"/"+gk.Kind]
	if !ok {
		return
	}
	found, _ := at.Lookup(o.Object)
	template, _ := found.(map[string]any)
	if template == nil {
		return
	}
	var pod corev1.PodTemplateSpec
	if !readable(template, &pod) {
		return
	}
	name := o.GetName()
	if c.has(gvk.Pod, o.GetNamespace(), name) {
		// Messages name the pod like the workload, but for its namesake.
		name += "-" + strings.ToLower(gk.Kind)
	}
	made := newObject("Pod", o.GetNamespace(), name)
	made.SetLabels(pod.Labels)
	made.SetAnnotations(pod.Annotations)
	c.inject(&made, &pod.Spec)
	i := c.make(gvk.Pod, made, &pod.Spec)
	i.object, i.template = o, at
	i.judged = c.judges(o)
}

// judges tells whether an object is one of those that are judged.
func (c *catalog) judges(o mizzen.Object) bool { return c.facts.judged[o.Ref()] }

func readable(template map[string]any, into *corev1.PodTemplateSpec) (ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	return runtime.DefaultUnstructuredConverter.FromUnstructured(template, into) == nil
}

// inject does what the mesh does to a pod at its birth.
func (c *catalog) inject(pod *mizzen.Object, spec *corev1.PodSpec) {
	namespace := c.Find(gvk.Namespace, fullName("", pod.GetNamespace()))
	labels := map[string]string{}
	if namespace != nil {
		maps.Copy(labels, namespace.Metadata.Labels)
	}
	own := pod.GetLabels()
	mode := own["istio.io/dataplane-mode"]
	if mode == "" {
		mode = labels["istio.io/dataplane-mode"]
	}
	switch {
	case mode == "ambient":
		annotations := pod.GetAnnotations()
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations["ambient.istio.io/redirection"] = "enabled"
		pod.SetAnnotations(annotations)
	case c.injected(own, labels, pod.GetNamespace()) && !hasContainer(spec, "istio-proxy"):
		spec.Containers = append(slices.Clone(spec.Containers), corev1.Container{Name: "istio-proxy", Image: "proxyv2"})
	}
}

// injected tells whether a pod gets a sidecar. Where nobody says anything about
// the namespace it is taken for one of the mesh: a check that is made in vain
// does less harm than one that is left out.
func (c *catalog) injected(pod, namespace map[string]string, name string) bool {
	switch pod["sidecar.istio.io/inject"] {
	case "true":
		return true
	case "false":
		return false
	}
	if pod["istio.io/rev"] != "" || namespace["istio.io/rev"] != "" {
		return true
	}
	if label, ok := namespace["istio-injection"]; ok {
		return label == "enabled"
	}
	return !c.facts.described[name]
}

func hasContainer(spec *corev1.PodSpec, name string) bool {
	is := func(c corev1.Container) bool { return c.Name == name }
	return slices.ContainsFunc(spec.Containers, is) || slices.ContainsFunc(spec.InitContainers, is)
}

// addIngressGateway adds the gateway that Istio's own chart installs, if no
// object is it: what istioctl's analysis of files does too.
func (c *catalog) addIngressGateway() {
	labels := map[string]string{"istio": "ingressgateway"}
	for _, pod := range c.all(gvk.Pod) {
		if pod.Metadata.Labels["istio"] == "ingressgateway" {
			return
		}
	}
	namespace := c.options.RootNamespace
	pod := newObject("Pod", namespace, "istio-ingressgateway")
	pod.SetLabels(labels)
	c.make(gvk.Pod, pod, &corev1.PodSpec{Containers: []corev1.Container{{Name: "istio-proxy", Image: "proxyv2"}}})
	if c.has(gvk.Service, namespace, "istio-ingressgateway") {
		return
	}
	spec := &corev1.ServiceSpec{Selector: labels}
	for name, port := range map[string]int32{"http2": 80, "https": 443, "tcp": 31400, "tls": 15443} {
		spec.Ports = append(spec.Ports, corev1.ServicePort{Name: name, Port: port, Protocol: corev1.ProtocolTCP})
	}
	slices.SortFunc(spec.Ports, func(a, b corev1.ServicePort) int { return int(a.Port - b.Port) })
	c.make(gvk.Service, newObject("Service", namespace, "istio-ingressgateway"), spec)
}
