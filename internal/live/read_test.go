package live

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	testclock "k8s.io/utils/clock/testing"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/labtest"
)

// counted returns a Cluster whose requests are counted as "VERB path".
func counted(t *testing.T, config *rest.Config, o Options) (*Cluster, func() []string) {
	t.Helper()
	var mu sync.Mutex
	var requests []string
	config = rest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			requests = append(requests, r.Method+" "+r.URL.Path)
			mu.Unlock()
			return next.RoundTrip(r)
		})
	})
	c, err := New(config, o)
	if err != nil {
		t.Fatal(err)
	}
	return c, func() []string {
		mu.Lock()
		defer mu.Unlock()
		taken := requests
		requests = nil
		slices.Sort(taken)
		return taken
	}
}

func TestObjects(t *testing.T) {
	l := newLab(t)
	const stored = 130
	var targets []Target
	for i := range stored {
		name := fmt.Sprintf("web-%03d", i)
		l.appliesAs("test", l.parse(strings.Replace(configMap, "name: web", "name: "+name, 1)))
		targets = append(targets, Target{configMaps, l.namespace, name})
	}
	c, requests := counted(t, l.config, Options{})
	if _, err := c.Resource(t.Context(), configMaps); err != nil {
		t.Fatal(err)
	}
	requests()
	unknown := Target{schema.GroupVersionKind{Group: "nothing.mizzen.test", Version: "v1", Kind: "Nothing"}, l.namespace, "x"}
	missing := Target{configMaps, l.namespace, "missing"}
	cluster := Target{schema.GroupVersionKind{Version: "v1", Kind: "Namespace"}, "", l.namespace}
	vague := Target{configMaps, "", "web-000"}

	few := []Target{targets[0], targets[1], missing, unknown, cluster, vague, targets[0]}
	objects, err := c.Objects(t.Context(), few)
	if err != nil {
		t.Fatal(err)
	}
	if len(objects) != 3 || objects[cluster.Ref()] == nil {
		t.Errorf("found %d of 3 objects", len(objects))
	}
	if a, _ := mizzen.Path("data.a").Lookup(objects[targets[1].Ref()].Object); a != "1" {
		t.Errorf("data.a is %q", a)
	}
	base := "GET /api/v1/namespaces/" + l.namespace
	want := []string{"GET /api", "GET /apis", base, base + "/configmaps/missing", base + "/configmaps/web-000", base + "/configmaps/web-001", "GET /version"}
	slices.Sort(want)
	if diff := cmp.Diff(want, requests()); diff != "" {
		t.Error(diff)
	}

	objects, err = c.Objects(t.Context(), append(slices.Clone(targets), missing, unknown))
	if err != nil {
		t.Fatal(err)
	}
	if len(objects) != stored {
		t.Errorf("found %d of %d objects", len(objects), stored)
	}
	if diff := cmp.Diff([]string{base + "/configmaps", base + "/configmaps"}, requests()); diff != "" {
		t.Error(diff)
	}
	metadata, err := c.Metadata(t.Context(), append(slices.Clone(targets[:20]), missing))
	if err != nil {
		t.Fatal(err)
	}
	if len(metadata) != 20 || metadata[targets[3].Ref()].UID == "" {
		t.Errorf("found %d of 20 objects", len(metadata))
	}
	if diff := cmp.Diff([]string{base + "/configmaps"}, requests()); diff != "" {
		t.Error(diff)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Objects(ctx, targets); err == nil {
		t.Error("no error although the context has ended")
	}
}

// servingConfigMaps answers for a cluster that knows ConfigMaps alone.
func servingConfigMaps(objects answers) answers {
	return func(r *http.Request) (int, string) {
		switch r.URL.Path {
		case "/version":
			return http.StatusOK, `{"gitVersion":"v1.36.3"}`
		case "/api":
			return http.StatusOK, `{"versions":["v1"]}`
		case "/api/v1":
			return http.StatusOK, `{"groupVersion":"v1","resources":[{"name":"configmaps","kind":"ConfigMap","namespaced":true,"verbs":["get","list"]}]}`
		case "/apis":
			return http.StatusOK, `{"groups":[]}`
		}
		return objects(r)
	}
}

// A namespace that holds far more than is wanted is not read to its end.
func TestObjectsOfCrowdedNamespace(t *testing.T) {
	pages, gets := 0, 0
	c := offline(t, servingConfigMaps(func(r *http.Request) (int, string) {
		if strings.HasSuffix(r.URL.Path, "/configmaps") {
			pages++
			return http.StatusOK, `{"apiVersion":"v1","kind":"ConfigMapList","metadata":{"continue":"more"},"items":[]}`
		}
		gets++
		return http.StatusNotFound, notFound
	}))
	var targets []Target
	for i := range 20 {
		targets = append(targets, Target{configMaps, "shop", fmt.Sprint(i)})
	}
	if _, err := c.Objects(t.Context(), targets); err != nil {
		t.Fatal(err)
	}
	if pages != pagesBeyond || gets != 20 {
		t.Errorf("%d pages and %d GETs", pages, gets)
	}
}

func TestDiscoveryIsCached(t *testing.T) {
	shared := labtest.Start(t, labtest.ControlPlane)
	clock := testclock.NewFakeClock(time.Unix(1e9, 0))
	c, requests := counted(t, shared.Config, Options{Clock: clock})
	ctx := t.Context()
	all := []string{"GET /api", "GET /apis", "GET /version"}

	r, err := c.Resource(ctx, deployments)
	if err != nil || r.Name != "deployments" || !r.Namespaced || !r.Can("watch") || r.Can("fly") {
		t.Fatalf("%+v, %v", r, err)
	}
	version, apis, err := c.Capabilities(ctx)
	if err != nil || !strings.HasPrefix(version, "v1.") || !slices.Contains(apis, "apps/v1") || !slices.Contains(apis, "apps/v1/Deployment") || !slices.IsSorted(apis) {
		t.Errorf("%s, %v, %v", version, apis, err)
	}
	if slices.Contains(apis, "apps/v1/Scale") || slices.Contains(apis, "v1/Binding/Eviction") {
		t.Error("subresources count as kinds")
	}
	if diff := cmp.Diff(all, requests()); diff != "" {
		t.Error(diff)
	}
	if p, err := c.Preferred(ctx, deploymentKind); err != nil || p.Kind.Version != "v1" {
		t.Errorf("%+v, %v", p, err)
	}

	unknown := schema.GroupVersionKind{Group: "nothing.mizzen.test", Version: "v1", Kind: "Nothing"}
	asked := func(want []string) {
		t.Helper()
		if _, err := c.Resource(ctx, unknown); mizzen.KindOf(err) != mizzen.NotFound {
			t.Errorf("got %v", err)
		}
		if diff := cmp.Diff(want, requests()); diff != "" {
			t.Error(diff)
		}
	}
	asked(all)
	asked(nil)
	clock.Step(missInterval + time.Second)
	asked(all)
	asked(nil)
	c.Invalidate(unknown.Group)
	asked(all)
	asked(nil)
	clock.Step(2 * freshInterval)
	asked(all)
	if _, err := c.Resource(ctx, deployments); err != nil {
		t.Error(err)
	}
	if got := requests(); len(got) > 0 {
		t.Errorf("another group is asked for again: %v", got)
	}
	c.Invalidate()
	if _, err := c.Resource(ctx, deployments); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(all, requests()); diff != "" {
		t.Error(diff)
	}
	// A list of a whole group is about the kinds that it has by now.
	list := func(want []string) {
		t.Helper()
		if _, err := c.List(ctx, []Query{{Group: unknown.Group}}, nil); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(want, requests()); diff != "" {
			t.Error(diff)
		}
	}
	list(nil)
	clock.Step(time.Second)
	c.Invalidate(unknown.Group)
	list(all)
}

func TestOpenAPI(t *testing.T) {
	shared := labtest.Start(t, labtest.ControlPlane)
	c, requests := counted(t, shared.Config, Options{})
	ctx := t.Context()
	for range 2 {
		doc, err := c.OpenAPI(ctx, schema.GroupVersion{Group: "apps", Version: "v1"})
		if err != nil {
			t.Fatal(err)
		}
		var parsed struct {
			Components struct{ Schemas map[string]any }
		}
		if err := json.Unmarshal(doc, &parsed); err != nil || parsed.Components.Schemas["io.k8s.api.apps.v1.Deployment"] == nil {
			t.Errorf("not the document: %v", err)
		}
	}
	if _, err := c.OpenAPI(ctx, schema.GroupVersion{Version: "v1"}); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"GET /openapi/v3", "GET /openapi/v3/api/v1", "GET /openapi/v3/apis/apps/v1"}, requests()); diff != "" {
		t.Error(diff)
	}
	c.Invalidate("apps")
	if _, err := c.OpenAPI(ctx, schema.GroupVersion{Group: "apps", Version: "v1"}); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"GET /openapi/v3"}, requests()); diff != "" {
		t.Error(diff)
	}
	if _, err := c.OpenAPI(ctx, schema.GroupVersion{Group: "nothing", Version: "v1"}); mizzen.KindOf(err) != mizzen.NotFound {
		t.Errorf("got %v", err)
	}
}

func TestChildren(t *testing.T) {
	l := newLab(t)
	o := l.appliesAs("test", l.parse(deployment))
	parents := []Parent{{mizzen.RefOf(o), o.GetUID()}}
	var kinds []string
	l.eventually("pods of the Deployment", func(ctx context.Context) bool {
		children, err := l.Children(ctx, parents)
		if err != nil {
			t.Error(err)
			return true
		}
		kinds = nil
		for _, c := range children {
			kinds = append(kinds, c.Ref.Kind)
		}
		return len(children) == 3
	})
	if diff := cmp.Diff([]string{"Pod", "Pod", "ReplicaSet"}, kinds); diff != "" {
		t.Error(diff)
	}
	children, err := l.Children(t.Context(), parents)
	if err != nil {
		t.Fatal(err)
	}
	replicaSet := children[2]
	if replicaSet.Parent != o.GetUID() || children[0].Parent != replicaSet.UID || replicaSet.Created.IsZero() {
		t.Errorf("%+v", children)
	}
}

func TestReachable(t *testing.T) {
	shared := labtest.Start(t, labtest.ControlPlane)
	cable, through := newCable(t, shared.Config)
	c, err := New(through, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Reachable(t.Context()); err != nil {
		t.Error(err)
	}
	cable.pull()
	if err := c.Reachable(t.Context()); mizzen.KindOf(err) != mizzen.Unreachable || !strings.Contains(err.Error(), shared.Config.Host) {
		t.Errorf("got %v", err)
	}
	wrong := rest.CopyConfig(shared.Config)
	wrong.CertData, wrong.CertFile, wrong.KeyData, wrong.KeyFile = nil, "", nil, ""
	wrong.BearerToken = "wrong"
	if c, err = New(wrong, Options{}); err != nil {
		t.Fatal(err)
	}
	if err := c.Reachable(t.Context()); mizzen.KindOf(err) != mizzen.Forbidden {
		t.Errorf("got %v", err)
	}
	if _, err := New(&rest.Config{Host: "::not a host"}, Options{}); mizzen.KindOf(err) != mizzen.Invalid {
		t.Errorf("got %v", err)
	}
}

func TestOwner(t *testing.T) {
	ours := apply(ourManager, `{}`)
	change := func(f func(*metav1.PartialObjectMetadata)) *metav1.PartialObjectMetadata {
		o := object("web", uid1, "1", ours)
		f(o)
		return o
	}
	cases := []struct {
		name string
		o    *metav1.PartialObjectMetadata
		want Ownership
	}{
		{"ours", object("web", uid1, "1", ours), Ours},
		{"bare", &metav1.PartialObjectMetadata{}, Unowned},
		{"label removed", change(func(o *metav1.PartialObjectMetadata) { o.Labels = nil }), Unowned},
		{"label only", change(func(o *metav1.PartialObjectMetadata) { o.Annotations = nil }), Copy},
		{"other identity", change(func(o *metav1.PartialObjectMetadata) {
			o.Annotations[mizzen.AnnotationIdentity] = "ConfigMap shop/other"
		}), Copy},
		{"owner is no name", change(func(o *metav1.PartialObjectMetadata) { o.Annotations[mizzen.AnnotationOwner] = "a/b/c" }), Copy},
		{"no entry", object("web", uid1, "1"), Copy},
		{"entry of an update", object("web", uid1, "1", update(ourManager, "", `{}`, time.Now())), Copy},
		{"another installation", change(func(o *metav1.PartialObjectMetadata) {
			o.Labels[mizzen.LabelManaged] = "east"
			o.ManagedFields = append(o.ManagedFields, apply("mizzen-east", `{}`))
		}), Another},
		{"another installation's label alone", change(func(o *metav1.PartialObjectMetadata) { o.Labels[mizzen.LabelManaged] = "east" }), Copy},
	}
	c := offline(t, nil)
	for _, tc := range cases {
		if _, got := c.Owner(webRef, tc.o); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	denied := `configmaps "x" is forbidden: User "system:serviceaccount:shop:ci" cannot list resource "configmaps" in API group "" in the namespace "shop"`
	cases := []struct {
		status int
		body   string
		kind   mizzen.Kind
		remedy string
	}{
		{403, fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403,"message":%q}`, denied), mizzen.Forbidden, "allow system:serviceaccount:shop:ci to list configmaps in the namespace shop"},
		{403, `nonsense`, mizzen.Forbidden, "grant the identity the permission by a Role or ClusterRole"},
		{401, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Unauthorized","code":401}`, mizzen.Forbidden, "renew them"},
		{409, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Conflict","code":409}`, mizzen.Conflict, ""},
		{504, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Timeout","code":504}`, mizzen.Timeout, "try again"},
		{502, `bad gateway`, mizzen.Unreachable, "tries again by itself"},
	}
	for _, tc := range cases {
		c := offline(t, servingConfigMaps(func(*http.Request) (int, string) { return tc.status, tc.body }))
		_, err := c.Objects(t.Context(), []Target{{configMaps, "shop", "x"}})
		if mizzen.KindOf(err) != tc.kind || !strings.Contains(err.Error(), tc.remedy) {
			t.Errorf("%d: %s: %v", tc.status, mizzen.KindOf(err), err)
		}
	}
}
