package apply_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"sigs.k8s.io/yaml"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/apply"
	"mizzen.dev/mizzen/internal/diff"
	"mizzen.dev/mizzen/internal/labtest"
)

const manager = "mizzen"

// cluster is a real API server as a test sees it.
type cluster struct {
	t         testing.TB
	config    *rest.Config
	namespace string
	writer    *apply.Applier
	dynamic   dynamic.Interface
	mapper    *restmapper.DeferredDiscoveryRESTMapper
	masker    diff.Masker
}

func start(t testing.TB) *cluster {
	t.Helper()
	lab := labtest.Start(t, labtest.ControlPlane)
	c := &cluster{t: t, config: lab.Config, namespace: lab.Namespace}
	client, err := discovery.NewDiscoveryClientForConfig(lab.Config)
	must(t, err)
	c.mapper = restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(client))
	c.dynamic, err = dynamic.NewForConfig(lab.Config)
	must(t, err)
	c.masker, err = diff.NewMasker([]byte("0123456789abcdef"))
	must(t, err)
	c.writer = c.applier("")
	return c
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (c *cluster) applier(user string) *apply.Applier {
	c.t.Helper()
	a, err := apply.New(c.config, apply.Options{Impersonate: user, Mapper: c.resource})
	must(c.t, err)
	return a
}

func (c *cluster) resource(_ context.Context, gvk schema.GroupVersionKind) (schema.GroupVersionResource, bool, error) {
	m, err := c.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if meta.IsNoMatchError(err) {
		return schema.GroupVersionResource{}, false, &mizzen.Error{Kind: mizzen.NotFound, Object: gvk.String(), Err: err}
	}
	if err != nil {
		return schema.GroupVersionResource{}, false, err
	}
	return m.Resource, m.Scope.Name() == meta.RESTScopeNameNamespace, nil
}

// parse reads a manifest; NS stands for the namespace of the test.
func (c *cluster) parse(manifest string) mizzen.Object {
	c.t.Helper()
	b, err := yaml.YAMLToJSON([]byte(strings.ReplaceAll(manifest, "NS", c.namespace)))
	must(c.t, err)
	u := &unstructured.Unstructured{}
	must(c.t, u.UnmarshalJSON(b))
	return mizzen.Object{Unstructured: u, Origins: mizzen.Origins{Object: mizzen.Origin{File: "app.yaml", Line: 1}}}
}

func (c *cluster) on(obj mizzen.Object) dynamic.ResourceInterface {
	c.t.Helper()
	gvr, namespaced, err := c.resource(context.Background(), obj.GroupVersionKind())
	must(c.t, err)
	if namespaced {
		return c.dynamic.Resource(gvr).Namespace(obj.GetNamespace())
	}
	return c.dynamic.Resource(gvr)
}

// live returns the object as the cluster has it, nil if it does not.
func (c *cluster) live(obj mizzen.Object) *unstructured.Unstructured {
	c.t.Helper()
	u, err := c.on(obj).Get(c.t.Context(), obj.GetName(), metav1.GetOptions{})
	if err != nil {
		return nil
	}
	return u
}

// as writes to an object as another field manager does.
func (c *cluster) as(fieldManager string, obj mizzen.Object, patch string, subresources ...string) {
	c.t.Helper()
	_, err := c.on(obj).Patch(c.t.Context(), obj.GetName(), types.MergePatchType, []byte(patch),
		metav1.PatchOptions{FieldManager: fieldManager}, subresources...)
	must(c.t, err)
}

func (c *cluster) remove(obj mizzen.Object) {
	c.t.Helper()
	must(c.t, c.on(obj).Delete(c.t.Context(), obj.GetName(), metav1.DeleteOptions{}))
}

// cleanup deletes a cluster-scoped object when the test ends.
func (c *cluster) cleanup(obj mizzen.Object) {
	resource := c.on(obj)
	c.t.Cleanup(func() {
		_ = resource.Delete(context.Background(), obj.GetName(), metav1.DeleteOptions{})
	})
}

// plan does what the engine does for objects that the Application has.
func (c *cluster) plan(objects ...mizzen.Object) *mizzen.Plan {
	c.t.Helper()
	prepared, findings, err := diff.Prepare(objects, diff.PrepareOptions{
		Application: mizzen.Name{Namespace: "team", Name: "app"}, Namespace: c.namespace,
		Scope: func(gvk schema.GroupVersionKind) (namespaced, known bool) {
			_, namespaced, err := c.resource(context.Background(), gvk)
			return namespaced, err == nil
		},
	})
	must(c.t, err)
	if mizzen.Worst(findings) == mizzen.Fatal {
		c.t.Fatalf("findings: %v", findings)
	}
	p := &mizzen.Plan{Application: mizzen.Name{Namespace: "team", Name: "app"}}
	for _, obj := range prepared {
		change, err := c.compare(obj)
		must(c.t, err)
		if change.Action == mizzen.None {
			p.Unchanged++
			continue
		}
		p.Changes = append(p.Changes, change)
	}
	return p
}

func (c *cluster) compare(obj mizzen.Object) (mizzen.Change, error) {
	var current, after *unstructured.Unstructured
	if _, _, err := c.resource(context.Background(), obj.GroupVersionKind()); err == nil {
		current = c.live(obj)
	}
	settled := apply.Settle(obj, current, manager)
	if current != nil {
		var err error
		if after, err = c.writer.DryRun(c.t.Context(), obj, current); err != nil {
			return mizzen.Change{}, err
		}
	}
	change := diff.Compare(settled.Object, current, after, diff.CompareOptions{
		Manager: manager, Masker: c.masker, Release: settled.Release,
	})
	return change, nil
}

// sync plans and carries out; it fails the test if that fails.
func (c *cluster) sync(objects ...mizzen.Object) *mizzen.Plan {
	c.t.Helper()
	p := c.plan(objects...)
	_, err := c.writer.Run(c.t.Context(), p, apply.RunOptions{})
	must(c.t, err)
	return p
}

// texts returns a Plan's changes as lines.
func texts(p *mizzen.Plan) []string {
	var lines []string
	for _, c := range p.Changes {
		lines = append(lines, c.String())
	}
	return lines
}

func field(t testing.TB, u *unstructured.Unstructured, path mizzen.Path) any {
	t.Helper()
	if u == nil {
		t.Fatal("the object does not exist")
	}
	v, _ := path.Lookup(u.Object)
	return v
}

func unique(t testing.TB, prefix string) string {
	t.Helper()
	h := uint32(2166136261)
	for _, b := range []byte(t.Name()) {
		h = (h ^ uint32(b)) * 16777619
	}
	return fmt.Sprintf("%s-%08x", prefix, h)
}

// coreMapper knows the core group alone, for tests without an API server.
func (*cluster) coreMapper(_ context.Context, gvk schema.GroupVersionKind) (schema.GroupVersionResource, bool, error) {
	gvr, _ := meta.UnsafeGuessKindToResource(gvk)
	return gvr, true, nil
}
