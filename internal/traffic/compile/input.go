package compile

import (
	"cmp"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	meshconfig "istio.io/api/mesh/v1alpha1"
	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/mesh"
	"istio.io/istio/pkg/kube"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
	"mizzen.dev/mizzen/internal/traffic/inject"
)

// domain is the suffix of Kubernetes' host names.
const domain = "cluster.local"

// input is what istiod would read from its API server.
type input struct {
	mesh       *meshconfig.MeshConfig
	namespaces map[string]*corev1.Namespace
	services   []*corev1.Service
	// slices are the addresses behind Services without a selector.
	slices    []*discoveryv1.EndpointSlice
	workloads []*workload
	// configs are Istio's own objects, kube those of the Gateway API and what
	// its controller reads beside them.
	configs  []config.Config
	kube     []runtime.Object
	rejected []traffic.Rejection
	origins  map[mizzen.Ref]mizzen.Origins
	injected map[string]bool
	// injectors are the webhooks that give pods a sidecar.
	injectors inject.Injectors
	// installations are the settings of the injectors.
	installations inject.Installations
	// scaled are the workloads whose number of pods another object decides about.
	scaled map[mizzen.Ref]bool
	// serviceTypes are those that Gateways ask istiod for.
	serviceTypes map[mizzen.Ref]string
	// selecting are the label keys by which Istio's objects pick workloads.
	selecting map[string]bool
	// names tells whether routes may be named by who wrote them.
	names bool
}

// read sorts objects by what istiod does with them. The result is a function
// of the set of objects, not of their order.
func read(objects []mizzen.Object, o Options) (*input, error) {
	objects = slices.Clone(rejuvenated(objects, o.Newcomers))
	mizzen.SortObjects(objects)
	in := &input{
		namespaces: map[string]*corev1.Namespace{}, origins: map[mizzen.Ref]mizzen.Origins{}, injected: map[string]bool{},
		selecting: map[string]bool{}, serviceTypes: map[mizzen.Ref]string{}, names: !namesMatter(objects), injectors: inject.Of(objects),
		installations: inject.SettingsOf(objects), scaled: scaledBy(objects),
	}
	var err error
	if in.mesh, err = meshOf(objects, o); err != nil {
		return nil, err
	}
	for _, label := range in.mesh.GetLocalityLbSetting().GetFailoverPriority() {
		in.notePriority(label)
	}
	for _, object := range objects {
		// Of an object that two Applications render, the cluster keeps one:
		// linting says so.
		if _, again := in.origins[object.Ref()]; !again {
			in.origins[object.Ref()] = object.Origins
			in.add(object)
		}
	}
	in.inject(o.RootNamespace)
	in.addEntries()
	in.deployGateways()
	in.deployWaypoints()
	in.ingressClasses()
	in.standIns(o.RootNamespace)
	in.standInSidecars(o.Selections)
	in.capture()
	slices.SortFunc(in.workloads, func(a, b *workload) int { return cmp.Compare(a.Name, b.Name) })
	in.workloads = slices.CompactFunc(in.workloads, func(a, b *workload) bool { return a.Name == b.Name })
	pods := addresses{network: traffic.PodNetwork}
	for _, w := range in.workloads {
		if w.Address == "" {
			w.Address = pods.of(w.Name)
		}
	}
	in.addressServices()
	return in, nil
}

// meshOf returns the settings of the mesh: Istio's defaults, below what the
// chart's ConfigMap says, below Options.MeshConfig.
func meshOf(objects []mizzen.Object, o Options) (*meshconfig.MeshConfig, error) {
	m := mesh.DefaultMeshConfig()
	m.RootNamespace = o.RootNamespace
	for _, object := range objects {
		ref := object.Ref()
		if ref.Group != "" || ref.Kind != "ConfigMap" || ref.Name != "istio" || ref.Namespace != o.RootNamespace {
			continue
		}
		text, _, err := unstructured.NestedString(object.Object, "data", "mesh")
		if err != nil || text == "" {
			continue
		}
		if m, err = mesh.ApplyMeshConfig(text, m); err != nil {
			return nil, &mizzen.Error{Kind: mizzen.Invalid, Object: ref.String(), Err: fmt.Errorf("data.mesh: %w", err), Remedy: "correct meshConfig in istiod's values"}
		}
	}
	if len(o.MeshConfig) > 0 {
		var err error
		if m, err = mesh.ApplyMeshConfig(string(o.MeshConfig), m); err != nil {
			return nil, &mizzen.Error{Kind: mizzen.Invalid, Object: "mesh configuration", Err: err, Remedy: "correct the file given with --mesh-config"}
		}
	}
	return m, nil
}

// add files one object. Kinds that say nothing about traffic are left out.
func (in *input) add(object mizzen.Object) {
	ref := object.Ref()
	switch ref.Group {
	case "networking.istio.io", "security.istio.io", "telemetry.istio.io", "extensions.istio.io":
		in.noteSelectors(object)
		in.addConfig(object)
	case "gateway.networking.k8s.io":
		in.addKube(object)
	case "networking.k8s.io":
		if ref.Kind == "Ingress" || ref.Kind == "IngressClass" {
			in.addKube(object)
		}
	case "discovery.k8s.io":
		in.addEndpoints(object)
	case "":
		in.addCore(object)
	case "apps", "batch", "argoproj.io":
		in.addWorkload(object)
	}
}

func (in *input) addCore(object mizzen.Object) {
	switch object.GetKind() {
	case "Namespace":
		if ns, ok := decode[*corev1.Namespace](in, object); ok {
			in.namespaces[ns.Name] = ns
		}
	case "Service":
		if svc, ok := decode[*corev1.Service](in, object); ok {
			in.services = append(in.services, svc)
		}
	case "Endpoints":
		in.addEndpoints(object)
	case "Pod", "ReplicationController":
		in.addWorkload(object)
	case "ConfigMap", "Secret":
		// Certificates of Gateways are referred to by name; the content is not
		// ours to hold.
		if o := bare(object); o != nil {
			in.kube = append(in.kube, o)
		}
	}
}

// addKube keeps an object for the controllers that read them as they are.
func (in *input) addKube(object mizzen.Object) {
	if o, ok := decode[runtime.Object](in, object); ok {
		setDefaults(o)
		in.kube = append(in.kube, o)
	}
}

// decode returns the object as its Go type; one that does not fit is rejected,
// as the API server would.
func decode[T runtime.Object](in *input, object mizzen.Object) (out T, ok bool) {
	kind := served(object.GroupVersionKind())
	typed, err := kube.IstioScheme.New(kind)
	if err == nil {
		err = runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, typed)
	}
	if err != nil {
		in.reject(object.Ref(), "", err.Error())
		return out, false
	}
	typed.GetObjectKind().SetGroupVersionKind(kind)
	out, ok = typed.(T)
	return out, ok
}

// bare returns a Secret or ConfigMap with its keys, and without its values.
func bare(object mizzen.Object) runtime.Object {
	meta := corev1.Secret{}
	meta.Name, meta.Namespace = object.GetName(), object.GetNamespace()
	meta.SetGroupVersionKind(object.GroupVersionKind())
	if object.GetKind() == "ConfigMap" {
		return &corev1.ConfigMap{TypeMeta: meta.TypeMeta, ObjectMeta: meta.ObjectMeta}
	}
	return &meta
}

func (in *input) reject(ref mizzen.Ref, path mizzen.Path, reason string) {
	in.rejected = append(in.rejected, traffic.Rejection{Ref: ref, Path: path, Reason: reason})
}

// namesMatter tells whether an EnvoyFilter picks routes by their name, so that
// they must keep it.
func namesMatter(objects []mizzen.Object) bool {
	for _, object := range objects {
		if object.GetKind() != "EnvoyFilter" || object.GroupVersionKind().Group != "networking.istio.io" {
			continue
		}
		patches, _, err := unstructured.NestedSlice(object.Object, "spec", "configPatches")
		if err != nil {
			continue
		}
		for _, p := range patches {
			patch, _ := p.(map[string]any)
			name, _, err := unstructured.NestedString(patch, "match", "routeConfiguration", "vhost", "route", "name")
			if err == nil && name != "" {
				return true
			}
		}
	}
	return false
}
