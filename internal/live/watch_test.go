package live

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/labtest"
)

// problems remembers what else a Handler is told.
type problems struct {
	watching  chan error
	reachable chan error
	kinds     chan schema.GroupResource
}

func newProblems() problems {
	return problems{make(chan error, 1000), make(chan error, 1000), make(chan schema.GroupResource, 1000)}
}

func (p problems) handler(r *recorder) Handler {
	h := r.listens()
	h.Watching = func(_ schema.GroupKind, err error) { p.watching <- err }
	h.Reachable = func(err error) { p.reachable <- err }
	h.Kinds = func(gr schema.GroupResource) { p.kinds <- gr }
	return h
}

func receive[T any](t *testing.T, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-patience(t):
		t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}

// watches replaces the Watcher of the lab by one that sees through config.
func (l *lab) watches(config *rest.Config, p problems, o Options) {
	l.t.Helper()
	l.Close()
	o.Installation = l.namespace
	c, err := New(config, o)
	if err != nil {
		l.t.Fatal(err)
	}
	l.Watcher = c.Watch(l.t.Context(), p.handler(l.recorder))
	l.t.Cleanup(l.Close)
}

func TestOutage(t *testing.T) {
	l := newLab(t)
	cable, through := newCable(t, l.config)
	p := newProblems()
	l.watches(through, p, Options{})
	l.ensures(configMaps, deployments, services, endpointSlices)
	l.applies(configMap)
	l.applies(strings.Replace(configMap, "name: web", "name: doomed", 1))
	l.wantsNothing(configMaps, configMap)

	cable.pull()
	if err := receive(t, "the outage", p.reachable); mizzen.KindOf(err) != mizzen.Unreachable {
		t.Errorf("outage is told as %v", err)
	}
	l.patches(configMaps, "web", "kubectl-edit", "", `{"data":{"a":null}}`)
	l.deletes(configMaps, "doomed")
	time.Sleep(3 * time.Second)
	if dials := cable.plug(); dials > 40 {
		t.Errorf("%d attempts to connect in 3 s", dials)
	}
	if err := receive(t, "the end of the outage", p.reachable); err != nil {
		t.Errorf("end of the outage is told as %v", err)
	}
	got := []string{l.news().String(), l.news().String()}
	slices.Sort(got)
	want := []string{"Changed ConfigMap " + l.namespace + "/web", "Gone ConfigMap " + l.namespace + "/doomed"}
	if !slices.Equal(got, want) {
		t.Errorf("after the outage: %q", got)
	}
	l.wantsNothing(configMaps, configMap)
	if n := len(p.reachable); n > 0 {
		t.Errorf("%d more calls of Reachable", n)
	}
	if n := len(p.watching); n > 0 {
		t.Errorf("%d calls of Watching: %v", n, <-p.watching)
	}
}

// expiring answers 410 Gone to a watch, as an API server does whose history no
// longer reaches back far enough.
type expiring struct {
	next http.RoundTripper
	gone atomic.Bool
	seen atomic.Int32
}

func (e *expiring) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Query().Get("watch") == "" || !strings.HasSuffix(r.URL.Path, "/configmaps") {
		return e.next.RoundTrip(r)
	}
	if e.gone.Load() {
		e.seen.Add(1)
		body := `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","message":"too old resource version","code":410}`
		return &http.Response{
			StatusCode: http.StatusGone, Request: r, ProtoMajor: 1, ProtoMinor: 1,
			Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewBufferString(body)),
		}, nil
	}
	return e.next.RoundTrip(r)
}

func TestHistoryExpired(t *testing.T) {
	l := newLab(t)
	server := &expiring{}
	cable, through := newCable(t, l.config)
	through.Wrap(func(next http.RoundTripper) http.RoundTripper { server.next = next; return server })
	p := newProblems()
	l.watches(through, p, Options{})
	l.ensures(configMaps)
	l.applies(configMap)
	l.wantsNothing(configMaps, configMap)

	server.gone.Store(true)
	cable.pull()
	l.patches(configMaps, "web", "kubectl-edit", "", `{"data":{"a":null}}`)
	cable.plug()
	l.eventually("410 Gone", func(context.Context) bool { return server.seen.Load() > 2 })
	server.gone.Store(false)
	l.wants(`Changed ConfigMap NS/web`)
	l.wantsNothing(configMaps, configMap)
	if n := server.seen.Load(); n > 60 {
		t.Errorf("asked %d times in vain", n)
	}
}

func TestForbidden(t *testing.T) {
	l := newLab(t, configMaps)
	config := rest.CopyConfig(l.config)
	config.Impersonate.UserName = "nobody-at-all"
	config.Impersonate.Groups = []string{"system:authenticated"}
	p := newProblems()
	l.watches(config, p, Options{})
	if _, err := l.Resource(t.Context(), configMaps); err != nil {
		t.Fatal(err)
	}
	r, err := l.Resource(t.Context(), configMaps)
	if err != nil {
		t.Fatal(err)
	}
	err = l.Ensure(t.Context(), r)
	if mizzen.KindOf(err) != mizzen.Forbidden || !strings.Contains(err.Error(), "allow nobody-at-all to list configmaps in the whole cluster") &&
		!strings.Contains(err.Error(), "allow nobody-at-all to watch configmaps in the whole cluster") {
		t.Errorf("Ensure says %v", err)
	}
	// Of the ConfigMaps and of the CustomResourceDefinitions, once each.
	for range 2 {
		if err := receive(t, "the news that nothing may be watched", p.watching); mizzen.KindOf(err) != mizzen.Forbidden {
			t.Errorf("told %v", err)
		}
	}
	if len(p.watching) > 0 {
		t.Errorf("told more than once: %v", <-p.watching)
	}
}

const widgetDefinition = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.%[1]s}
spec:
  group: %[1]s
  scope: Namespaced
  names: {kind: Widget, listKind: WidgetList, plural: widgets, singular: widget}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`

func TestDefinitionComesAndGoes(t *testing.T) {
	l := newLab(t)
	group := l.namespace + ".mizzen.test"
	widgets := schema.GroupVersionKind{Group: group, Version: "v1", Kind: "Widget"}
	definition := l.parse(fmt.Sprintf(widgetDefinition, group))
	p := newProblems()
	l.watches(l.config, p, Options{})
	t.Cleanup(func() {
		_ = l.client(definitions.Kind).Delete(context.Background(), definition.GetName(), metav1.DeleteOptions{})
	})

	if _, err := l.c.Resource(t.Context(), widgets); mizzen.KindOf(err) != mizzen.NotFound {
		t.Fatalf("an unknown kind: %v", err)
	}
	l.appliesAs("test", definition)
	// Its own Cluster learns of it without being told.
	receiveKind(t, p, "widgets")
	r, err := l.c.Resource(t.Context(), widgets)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Ensure(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	l.Invalidate(group)
	widget := fmt.Sprintf("apiVersion: %s/v1\nkind: Widget\nmetadata: {name: web}\nspec: {a: 1}\n", group)
	ref := l.applies(widget)
	l.eventually("the widget", func(context.Context) bool { _, ok := l.Lookup(ref); return ok })

	l.deletes(definitions.Kind, definition.GetName())
	l.wants("Gone NS.mizzen.test/Widget NS/web")
	receiveKind(t, p, "widgets")
	if err := receive(t, "the news that the watch ended", p.watching); mizzen.KindOf(err) != mizzen.NotFound {
		t.Errorf("told %v", err)
	}

	l.define(definition)
	receiveKind(t, p, "widgets")
	if err := receive(t, "the news that it is watched again", p.watching); err != nil {
		t.Errorf("told %v", err)
	}
	l.applies(widget)
	l.eventually("the new widget", func(context.Context) bool { _, ok := l.Lookup(ref); return ok })
	l.patches(widgets, "web", "kubectl-edit", "", `{"spec":{"b":1}}`)
	if e := l.news(); e.Type != Foreign {
		t.Errorf("got %s", e)
	}
}

// receiveKind waits for the news of a resource; other tests make CRDs too.
func receiveKind(t *testing.T, p problems, resource string) {
	t.Helper()
	for receive(t, "the news of "+resource, p.kinds).Resource != resource {
		continue
	}
}

func TestEnsureOfWhatIsNotThere(t *testing.T) {
	l := newLab(t)
	err := l.Ensure(t.Context(), Resource{
		Kind: schema.GroupVersionKind{Group: "nothing.mizzen.test", Version: "v1", Kind: "Nothing"},
		Name: "nothings", Namespaced: true, Verbs: []string{"list", "watch"},
	})
	if mizzen.KindOf(err) != mizzen.NotFound {
		t.Errorf("got %v", err)
	}
	// What cannot be watched is left out.
	if err := l.Ensure(t.Context(), Resource{Kind: configMaps, Name: "x", Verbs: []string{"create"}}); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Ensure(ctx, Resource{Kind: services, Name: "services", Namespaced: true, Verbs: []string{"list", "watch"}}); err == nil && !l.Synced(services.GroupKind()) {
		t.Error("a canceled Ensure says that all is well")
	}
}

func TestQuietClusterCostsNothing(t *testing.T) {
	shared := labtest.Start(t, labtest.ControlPlane)
	var requests atomic.Int32
	config := rest.CopyConfig(shared.Config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			requests.Add(1)
			return next.RoundTrip(r)
		})
	})
	c, err := New(config, Options{Installation: shared.Namespace})
	if err != nil {
		t.Fatal(err)
	}
	w := c.Watch(t.Context(), Handler{})
	defer w.Close()
	var resources []Resource
	for _, gvk := range []schema.GroupVersionKind{configMaps, deployments, services} {
		r, err := c.Resource(t.Context(), gvk)
		if err != nil {
			t.Fatal(err)
		}
		resources = append(resources, r)
	}
	if err := w.Ensure(t.Context(), resources...); err != nil {
		t.Fatal(err)
	}
	// Other tests make CRDs meanwhile, and what they bring is asked for.
	labtest.Eventually(t, "1000 questions that cost at most 3 requests", func(context.Context) bool {
		before := requests.Load()
		for range 1000 {
			if err := w.Ensure(t.Context(), resources...); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Resource(t.Context(), configMaps); err != nil {
				t.Fatal(err)
			}
			if _, _, err := c.Capabilities(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		n := requests.Load() - before
		t.Logf("%d requests", n)
		return n <= 3
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
