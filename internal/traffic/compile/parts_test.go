package compile

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/anypb"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/pkg/networking/core"
	"istio.io/istio/pilot/pkg/xds/endpoints"
	"istio.io/istio/pkg/test"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
)

// TestParts holds what proxies share, and what is compiled for one direction
// alone, to what istiod generates for each proxy as a whole and without a cache.
func TestParts(t *testing.T) {
	base := parse(t, file(t, "../effect/testdata/base.yaml"))
	scenarios, err := filepath.Glob("../effect/testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range scenarios {
		archive := txtar.Parse(file(t, path))
		// Of an object that is there twice, the first counts.
		objects := slices.Concat(parse(t, content(archive, "after.yaml")), base)
		t.Run(filepath.Base(path), func(t *testing.T) {
			holdParts(t, objects, Options{MeshConfig: content(archive, "after.mesh")})
		})
	}
	models, err := filepath.Glob("../../../test/mesh/testdata/model/*.yaml")
	if err != nil || len(models)+len(scenarios) < 150 {
		t.Fatal("too few scenarios", len(models), len(scenarios), err)
	}
	for _, path := range append(models, "testdata/shop.yaml", "testdata/gatewayapi.yaml", "testdata/alike.yaml") {
		t.Run(filepath.Base(path), func(t *testing.T) { holdParts(t, parse(t, file(t, path)), Options{}) })
	}
}

func holdParts(t *testing.T, objects []mizzen.Object, o Options) {
	o.RootNamespace = DefaultRoot
	err := test.Wrap(func(tt test.Failer) {
		in, err := read(objects, o)
		if err != nil {
			t.Fatal(err)
		}
		e, err := start(tt, in)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range in.workloads {
			w.Bypass = traffic.Bypass{} // what istiod sends knows nothing of iptables
		}
		proxies, err := e.proxies(t.Context(), in, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range in.workloads {
			i := slices.IndexFunc(proxies, func(p *traffic.Proxy) bool { return p.Name == w.Name })
			if i < 0 {
				continue
			}
			want, got := resources(whole(t, e, w)), resources(proxies[i].View())
			if maps.EqualFunc(want, got, proto.Equal) {
				continue
			}
			t.Errorf("%s (-as a whole +in parts):\n%s", w.Name, cmp.Diff(want, got, protocmp.Transform()))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// whole asks istiod's generators for everything at once.
func whole(t *testing.T, e *environment, w *workload) *traffic.View {
	t.Helper()
	p := e.gen.SetupProxy(e.node(w))
	gen := *e.gen
	gen.ConfigGen = core.NewConfigGenerator(model.DisabledCache{})
	v := newView()
	v.Inbound = gen.Listeners(p)
	for _, r := range gen.RoutesFromListeners(p, v.Inbound) {
		sortQueries(r)
		v.Routes[r.Name] = r
	}
	for _, c := range gen.Clusters(p) {
		v.Clusters[c.Name] = c
		b := endpoints.NewEndpointBuilder(c.Name, p, e.push)
		if loads := b.BuildClusterLoadAssignment(e.gen.Env().EndpointIndex); c.GetEdsClusterConfig() != nil {
			v.Endpoints[c.Name] = loads
		}
	}
	return v
}

// resources are what a view has, by name.
func resources(v *traffic.View) map[string]proto.Message {
	out := map[string]proto.Message{}
	for _, l := range slices.Concat(v.Inbound, v.Outbound) {
		out["listener "+l.Name] = bareTags(l)
	}
	for name, r := range v.Routes {
		out["routes "+name] = r
	}
	for name, c := range v.Clusters {
		out["cluster "+name] = c
	}
	for name, l := range v.Endpoints {
		l = proto.CloneOf(l)
		for _, locality := range l.Endpoints {
			slices.SortFunc(locality.LbEndpoints, func(a, b *endpointv3.LbEndpoint) int { return strings.Compare(a.String(), b.String()) })
		}
		out["endpoints "+name] = l
	}
	return out
}

// bareTags leaves out the names in traces: they are those of one of the proxies
// that share a part.
func bareTags(l *listenerv3.Listener) *listenerv3.Listener {
	l = proto.CloneOf(l)
	for _, chain := range append(slices.Clone(l.FilterChains), l.DefaultFilterChain) {
		for _, f := range chain.GetFilters() {
			h := &hcmv3.HttpConnectionManager{}
			if f.GetTypedConfig().UnmarshalTo(h) != nil || h.Tracing == nil {
				continue
			}
			h.Tracing.CustomTags = nil
			bare, err := anypb.New(h)
			if err != nil {
				panic(err)
			}
			f.ConfigType = &listenerv3.Filter_TypedConfig{TypedConfig: bare}
		}
	}
	return l
}

// TestShared holds that parts are shared: otherwise TestParts says little.
func TestShared(t *testing.T) {
	mesh, err := Compile(t.Context(), parse(t, file(t, "testdata/alike.yaml")), Options{})
	if err != nil {
		t.Fatal(err)
	}
	out, in := map[*traffic.Part][]string{}, map[*traffic.Part][]string{}
	for _, p := range mesh.Proxies {
		out[p.Outbound] = append(out[p.Outbound], p.Name)
		in[p.Inbound] = append(in[p.Inbound], p.Name)
	}
	names := func(parts map[*traffic.Part][]string) []string {
		var names []string
		for group := range maps.Values(parts) {
			names = append(names, strings.Join(group, " "))
		}
		slices.Sort(names)
		return names
	}
	if diff := cmp.Diff([]string{"other/web", "shop/api shop/web", "shop/canary", "shop/near", "shop/set-0", "shop/set-1"}, names(out)); diff != "" {
		t.Errorf("who sends the same (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"other/web", "shop/api", "shop/canary", "shop/near", "shop/set-0 shop/set-1", "shop/web"}, names(in)); diff != "" {
		t.Errorf("who accepts the same (-want +got):\n%s", diff)
	}
}

func parse(t *testing.T, b []byte) (out []mizzen.Object) {
	t.Helper()
	for _, doc := range strings.Split("\n"+string(b), "\n---") {
		var m map[string]any
		if err := yaml.Unmarshal([]byte(doc), &m); err != nil {
			t.Fatal(err)
		}
		if len(m) == 0 {
			continue
		}
		o := &unstructured.Unstructured{Object: m}
		if o.GetNamespace() == "" && o.GetKind() != "Namespace" {
			o.SetNamespace("default") // as istiod's own tests take it
		}
		out = append(out, mizzen.Object{Unstructured: o})
	}
	return out
}

func file(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func content(a *txtar.Archive, name string) []byte {
	for _, f := range a.Files {
		if f.Name == name {
			return f.Data
		}
	}
	return nil
}
