package live

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/labtest"
)

// lab is a real cluster, in which an installation of this test's own applies
// objects and people edit them.
type lab struct {
	t testing.TB
	*Cluster
	*Watcher
	*recorder
	config    *rest.Config
	namespace string
	dynamic   dynamic.Interface
}

// newLab returns a lab whose Watcher watches the kinds of the given resources.
func newLab(t testing.TB, watched ...schema.GroupVersionKind) *lab {
	t.Helper()
	shared := labtest.Start(t, labtest.ControlPlane)
	return openLab(t, shared.Config, shared.Namespace, watched...)
}

func openLab(t testing.TB, config *rest.Config, namespace string, watched ...schema.GroupVersionKind) *lab {
	t.Helper()
	c, err := New(config, Options{Installation: namespace})
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, Cluster: c, recorder: newRecorder(), config: config, namespace: namespace}
	people := rest.CopyConfig(config)
	people.QPS = -1
	if l.dynamic, err = dynamic.NewForConfig(people); err != nil {
		t.Fatal(err)
	}
	l.Watcher = c.Watch(t.Context(), l.listens())
	t.Cleanup(l.Close)
	l.ensures(watched...)
	return l
}

func (l *lab) ensures(kinds ...schema.GroupVersionKind) {
	l.t.Helper()
	for _, gvk := range kinds {
		r, err := l.Resource(l.t.Context(), gvk)
		if err != nil {
			l.t.Fatal(err)
		}
		if err := l.Ensure(l.t.Context(), r); err != nil {
			l.t.Fatal(err)
		}
	}
}

func (l *lab) client(gvk schema.GroupVersionKind) dynamic.ResourceInterface {
	l.t.Helper()
	r, err := l.Resource(l.t.Context(), gvk)
	if err != nil {
		l.t.Fatal(err)
	}
	if !r.Namespaced {
		return l.dynamic.Resource(r.GVR())
	}
	return l.dynamic.Resource(r.GVR()).Namespace(l.namespace)
}

func (l *lab) parse(manifest string) *unstructured.Unstructured {
	l.t.Helper()
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(manifest), &o.Object); err != nil {
		l.t.Fatal(err)
	}
	if o.GetNamespace() == "" && !strings.Contains(o.GetKind(), "CustomResourceDefinition") {
		o.SetNamespace(l.namespace)
	}
	return o
}

// owned adds what Mizzen writes on every object.
func (l *lab) owned(o *unstructured.Unstructured) *unstructured.Unstructured {
	o = o.DeepCopy()
	meta := map[string]string{}
	for k, v := range o.GetLabels() {
		meta[k] = v
	}
	meta[mizzen.LabelManaged] = l.installation
	o.SetLabels(meta)
	o.SetAnnotations(map[string]string{mizzen.AnnotationOwner: app.String(), mizzen.AnnotationIdentity: mizzen.RefOf(o).String()})
	return o
}

// applies is a sync of one object, as the engine does it.
func (l *lab) applies(manifest string) mizzen.Ref {
	l.t.Helper()
	o := l.owned(l.parse(manifest))
	ref := mizzen.RefOf(o)
	l.Begin(app)
	defer l.End(app)
	got := l.appliesAs(l.manager, o)
	hash, ok := ManagedHash(got.GetManagedFields(), l.manager)
	if !ok {
		l.t.Fatalf("no entry of %s in %v", l.manager, got.GetManagedFields())
	}
	l.Expect(app, ref, Applied{UID: got.GetUID(), Managed: hash, ResourceVersion: got.GetResourceVersion()})
	return ref
}

// appliesAs is a forced server-side apply of any manager.
func (l *lab) appliesAs(manager string, o *unstructured.Unstructured) *unstructured.Unstructured {
	l.t.Helper()
	got, err := l.client(o.GroupVersionKind()).Apply(l.t.Context(), o.GetName(), o, metav1.ApplyOptions{FieldManager: manager, Force: true})
	if err != nil {
		l.t.Fatal(err)
	}
	return got
}

// patches is an edit by hand; subresource may be empty.
func (l *lab) patches(gvk schema.GroupVersionKind, name, manager, subresource, patch string) {
	l.t.Helper()
	var sub []string
	if subresource != "" {
		sub = []string{subresource}
	}
	_, err := l.client(gvk).Patch(l.t.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: manager}, sub...)
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) deletes(gvk schema.GroupVersionKind, name string) {
	l.t.Helper()
	if err := l.client(gvk).Delete(l.t.Context(), name, metav1.DeleteOptions{}); err != nil {
		l.t.Fatal(err)
	}
}

// prunes deletes an object as the engine does it.
func (l *lab) prunes(gvk schema.GroupVersionKind, ref mizzen.Ref) {
	l.t.Helper()
	l.ExpectGone(ref)
	l.deletes(gvk, ref.Name)
	l.wants("Removed " + strings.ReplaceAll(ref.String(), l.namespace, "NS"))
}

// news waits for the next Event that is not Touched.
func (l *lab) news() Event {
	l.t.Helper()
	for {
		l.recorder.mu.Lock()
		for len(l.events) > 0 {
			e := l.events[0]
			l.events = l.events[1:]
			if e.Type != Touched {
				l.recorder.mu.Unlock()
				return e
			}
		}
		l.recorder.mu.Unlock()
		select {
		case <-l.more:
		case <-patience(l.t):
			l.t.Fatal("waited in vain for an event")
		}
	}
}

// wants waits for news, which must be these and in this order.
func (l *lab) wants(want ...string) {
	l.t.Helper()
	for _, w := range want {
		e := l.news()
		if got := strings.ReplaceAll(e.String(), l.namespace, "NS"); got != w {
			l.t.Errorf("got  %s\nwant %s", got, w)
		}
	}
}

// wantsNothing checks that there was no drift up to now: an object of the same
// kind is made and deleted, and its end has to be the first news.
func (l *lab) wantsNothing(gvk schema.GroupVersionKind, manifest string) {
	l.t.Helper()
	o := l.parse(manifest)
	o.SetName("sentinel")
	b, err := json.Marshal(o)
	if err != nil {
		l.t.Fatal(err)
	}
	ref := l.applies(string(b))
	l.eventually("the sentinel", func(context.Context) bool { _, ok := l.Lookup(ref); return ok })
	l.deletes(gvk, "sentinel")
	l.wants("Gone " + strings.ReplaceAll(ref.String(), l.namespace, "NS"))
}

func (l *lab) eventually(what string, condition func(context.Context) bool) {
	l.t.Helper()
	labtest.Eventually(l.t, what, condition)
}

func patience(t testing.TB) <-chan struct{} {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	return ctx.Done()
}

// installs applies the definitions of a file.
func (l *lab) installs(file string) {
	l.t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		l.t.Fatal(err)
	}
	for _, doc := range strings.Split(string(raw), "\n---\n") {
		l.define(l.parse(doc))
	}
}

func (l *lab) define(o *unstructured.Unstructured) {
	l.t.Helper()
	l.appliesAs("test-definitions", o)
	l.eventually(o.GetName(), func(ctx context.Context) bool {
		got, err := l.client(o.GroupVersionKind()).Get(ctx, o.GetName(), metav1.GetOptions{})
		if err != nil {
			return false
		}
		conditions, _, _ := unstructured.NestedSlice(got.Object, "status", "conditions")
		for _, c := range conditions {
			if m, ok := c.(map[string]any); ok && m["type"] == "Established" && m["status"] == "True" {
				return true
			}
		}
		return false
	})
	l.Invalidate()
}

// cable connects to an API server and can be cut.
type cable struct {
	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool
	dials int
}

func newCable(t testing.TB, config *rest.Config) (*cable, *rest.Config) {
	t.Helper()
	c := &cable{conns: make(map[net.Conn]bool)}
	through := rest.CopyConfig(config)
	through.Dial = c.dial
	return c, through
}

func (c *cable) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dials++
	if c.cut {
		return nil, &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("connect", unix.ECONNREFUSED)}
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err == nil {
		c.conns[conn] = true
	}
	return conn, err
}

// pull ends all connections and refuses new ones until plug.
func (c *cable) pull() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut, c.dials = true, 0
	for conn := range c.conns {
		_ = conn.Close()
	}
	c.conns = make(map[net.Conn]bool)
}

// plug ends the outage and returns how often a connection was tried meanwhile.
func (c *cable) plug() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = false
	return c.dials
}
