package compile

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"sigs.k8s.io/gateway-api/pkg/consts"

	"istio.io/istio/pilot/pkg/config/aggregate"
	"istio.io/istio/pilot/pkg/config/kube/extensions"
	"istio.io/istio/pilot/pkg/config/kube/gateway"
	"istio.io/istio/pilot/pkg/config/kube/ingress"
	"istio.io/istio/pilot/pkg/config/memory"
	"istio.io/istio/pilot/pkg/features"
	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/pkg/networking/core"
	"istio.io/istio/pilot/pkg/serviceregistry"
	"istio.io/istio/pilot/pkg/serviceregistry/kube/controller"
	"istio.io/istio/pilot/pkg/serviceregistry/provider"
	"istio.io/istio/pkg/config/mesh/meshwatcher"
	"istio.io/istio/pkg/config/schema/collections"
	"istio.io/istio/pkg/config/schema/gvr"
	kubelib "istio.io/istio/pkg/kube"
	"istio.io/istio/pkg/kube/kclient/clienttest"
	"istio.io/istio/pkg/kube/krt"
	"istio.io/istio/pkg/test"
)

// environment is an istiod without a cluster.
type environment struct {
	gen    *core.ConfigGenTest
	push   *model.PushContext
	shared *shared
}

// start wires istiod's parts as istiod's own tests do; their wiring is used
// since it is kept true by Istio.
func start(t test.Failer, in *input) (*environment, error) {
	krt.GlobalDebugHandler = new(krt.DebugHandler) // what it holds is never freed
	// Names of gateways of other networks are not resolved: the worker reads no
	// file that names a server, and may not ask one.
	features.ResolveHostnameGateways, model.NetworkGatewayTestDNSServers = false, []string{"127.0.0.1:53"}
	r := newRegistry(in)
	updater := &relay{}
	store := memory.NewController(memory.MakeSkipValidation(collections.PilotGatewayAPI()))
	var api *kubernetes
	options := core.TestOptions{
		Configs: in.configs, ConfigController: store, MeshConfig: in.mesh, XDSUpdater: updater, SkipRun: true, ClusterID: clusterID,
		ServiceRegistries: []serviceregistry.Instance{serviceregistry.Simple{ProviderID: provider.Kubernetes, ClusterID: clusterID, DiscoveryController: r}},
	}
	if wantsKubernetes(in.kube) {
		api = newKubernetes(t, in, updater)
		options.ConfigStoreCaches = []model.ConfigStoreController{api.ingress}
	}
	options.CreateConfigStore = func(c model.ConfigStoreController) model.ConfigStoreController {
		caches := []model.ConfigStoreController{extensions.NewController(c, updater, krt.GlobalDebugHandler)}
		if api != nil {
			caches = append(caches, api.gateway)
		}
		all, err := aggregate.MakeCache(caches)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	gen := core.NewConfigGenTest(t, options)
	env := gen.Env()
	updater.Index = env.EndpointIndex
	if api != nil {
		env.GatewayAPIController = api.gateway
		api.client.RunAndWait(test.NewStop(t))
		// The Gateway API's controller asks the push context for Services, and
		// the push context asks it for routes: it needs a first one.
		first := model.NewPushContext()
		first.InitContext(env, nil, nil)
	}
	for _, i := range r.instances(in.workloads) {
		gen.ServiceEntryRegistry.WorkloadInstanceHandler(i, model.EventAdd)
	}
	gen.Run()
	r.publish(updater)
	if err := env.InitNetworksManager(updater); err != nil {
		return nil, fmt.Errorf("networks: %w", err)
	}
	push := model.NewPushContext()
	push.InitContext(env, nil, nil)
	env.SetPushContext(push)
	e := &environment{gen: gen, push: push, shared: newShared()}
	gen.ConfigGen = core.NewConfigGenerator(e.shared)
	return e, nil
}

// hosts are all that Services and ServiceEntries name, with their ports.
func (e *environment) hosts() map[string][]uint32 {
	out := map[string][]uint32{}
	for _, s := range e.gen.Env().Services() {
		ports := out[string(s.Hostname)]
		for _, p := range s.Ports {
			ports = append(ports, uint32(p.Port))
		}
		slices.Sort(ports)
		out[string(s.Hostname)] = slices.Compact(ports)
	}
	return out
}

// relay is an updater whose index is known only once istiod's environment is.
type relay struct{ model.FakeEndpointIndexUpdater }

// kubernetes is an API server in memory, for those of istiod's controllers that
// read one.
type kubernetes struct {
	client  kubelib.Client
	gateway *gateway.Controller
	ingress model.ConfigStoreController
}

// wantsKubernetes tells whether there is anything for these controllers. They
// are left out otherwise, since the API server in memory is slow.
func wantsKubernetes(objects []runtime.Object) bool {
	for _, o := range objects {
		switch o.GetObjectKind().GroupVersionKind().Group {
		case "gateway.networking.k8s.io", "networking.k8s.io":
			return true
		}
	}
	return false
}

// watched are the kinds that istiod's controller waits to see defined.
var watched = []schema.GroupVersionResource{
	gvr.GatewayClass, gvr.KubernetesGateway, gvr.HTTPRoute, gvr.GRPCRoute, gvr.TCPRoute, gvr.TLSRoute, gvr.ReferenceGrant,
	gvr.BackendTLSPolicy, gvr.ListenerSet, gvr.ServiceEntry,
}

func newKubernetes(t test.Failer, in *input, updater model.XDSUpdater) *kubernetes {
	objects := in.kube
	for _, svc := range in.services {
		objects = append(objects, svc)
	}
	for _, ns := range in.namespaces {
		objects = append(objects, ns)
	}
	client := kubelib.NewFakeClient(objects...)
	// istiod reads some kinds of recent releases of the Gateway API only, and
	// leaves them out silently otherwise.
	release := map[string]string{consts.BundleVersionAnnotation: consts.BundleVersion}
	for _, crd := range watched {
		clienttest.MakeCRDWithAnnotations(t, client, crd, release)
	}
	options := controller.Options{DomainSuffix: domain, ClusterID: clusterID, KrtDebugger: krt.GlobalDebugHandler}
	there := func(schema.GroupVersionResource, <-chan struct{}) bool { return true }
	return &kubernetes{
		client:  client,
		gateway: gateway.NewController(client, there, options, updater),
		ingress: ingress.NewController(client, meshwatcher.NewTestWatcher(in.mesh), options, updater),
	}
}
