package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"mizzen.dev/mizzen/api/v1alpha1"
)

const (
	namespace = "bench"
	secret    = "bench-webhook-secret"
	// workers is how many requests a baseline and the set-up have under way.
	workers = 16
)

// payload is 2 KB of data.
var payload = strings.Repeat("0123456789abcdef", 128)

// configMap is the manifest of one object of an Application.
func configMap(app, i int, version string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: cm-%d-%d\ndata:\n  version: %q\n  payload: %s\n", app, i, version, payload)
}

// monorepo is the content of a repository with apps directories of objects
// manifests each.
func monorepo(apps, objects int) map[string]string {
	files := map[string]string{}
	for a := range apps {
		for o := range objects {
			files[fmt.Sprintf("apps/app-%d/cm-%d.yaml", a, o)] = configMap(a, o, "1")
		}
	}
	return files
}

// seldom is a poll interval that no measurement lasts: what is measured is told
// by webhook.
const seldom = time.Hour

// fleet creates the namespace, its service account's rights, the Repository,
// which may be suspended, and the Applications. Without an interval, the
// Repository has the default one.
func (l *lab) fleet(ctx context.Context, url string, apps int, interval time.Duration, suspended bool) error {
	for _, o := range []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}},
		&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "tenant"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
			Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: namespace, Name: "default"}},
		},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "webhook"}, StringData: map[string]string{"token": secret}},
		&v1alpha1.Repository{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "mono"},
			Spec: v1alpha1.RepositorySpec{
				URL: url, Suspend: suspended, Interval: metav1.Duration{Duration: interval},
				WebhookSecretRef: &v1alpha1.SecretReference{Name: "webhook"},
			},
		},
	} {
		if err := l.client.Create(ctx, o); err != nil {
			return err
		}
	}
	return parallel(ctx, apps, func(ctx context.Context, i int) error {
		return l.client.Create(ctx, &v1alpha1.Application{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("app-%d", i)},
			Spec:       v1alpha1.ApplicationSpec{Source: v1alpha1.ApplicationSource{Repository: "mono", Path: fmt.Sprintf("apps/app-%d", i)}},
		})
	})
}

// release lets the Repository be fetched.
func (l *lab) release(ctx context.Context) error {
	repo := &v1alpha1.Repository{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "mono"}}
	return l.client.Patch(ctx, repo, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"suspend":false}}`)))
}

// installed waits until Mizzen's kinds can be created. The API server takes a
// moment after their definitions are established.
func (l *lab) installed(ctx context.Context) error {
	trial := metav1.ObjectMeta{Namespace: "default", Name: "trial"}
	for _, o := range []client.Object{
		&v1alpha1.Repository{ObjectMeta: trial, Spec: v1alpha1.RepositorySpec{URL: "https://git.example/x.git"}},
		&v1alpha1.Application{ObjectMeta: trial, Spec: v1alpha1.ApplicationSpec{Source: v1alpha1.ApplicationSource{Repository: "x"}}},
	} {
		err := poll(ctx, func() (bool, error) {
			return l.client.Create(ctx, o.DeepCopyObject().(client.Object), client.DryRunAll) == nil, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// awaitReady returns when so many Applications are Ready.
func (l *lab) awaitReady(ctx context.Context, apps int) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	ready := map[string]bool{}
	note := func(app *v1alpha1.Application) {
		ready[app.Name] = meta.IsStatusConditionTrue(app.Status.Conditions, v1alpha1.ConditionReady)
	}
	count := func() (n int) {
		for _, r := range ready {
			if r {
				n++
			}
		}
		return n
	}
	for count() < apps {
		if err := l.noteAll(ctx, note, func() bool { return count() >= apps }); err != nil {
			return fmt.Errorf("%d of %d applications are ready: %w", count(), apps, err)
		}
	}
	return nil
}

// noteAll lists the Applications and follows them until enough says so, or the
// server ends the watch.
func (l *lab) noteAll(ctx context.Context, note func(*v1alpha1.Application), enough func() bool) error {
	var list v1alpha1.ApplicationList
	if err := l.client.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		return err
	}
	for i := range list.Items {
		note(&list.Items[i])
	}
	w, err := l.client.Watch(ctx, &list, client.InNamespace(namespace), &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: list.ResourceVersion}})
	if err != nil {
		return err
	}
	defer w.Stop()
	for !enough() {
		select {
		case e, ok := <-w.ResultChan():
			if !ok {
				return nil
			}
			if app, is := e.Object.(*v1alpha1.Application); is && e.Type != watch.Deleted {
				note(app)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// parallel calls do for 0..n-1, workers at a time.
func parallel(ctx context.Context, n int, do func(context.Context, int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(workers)
	for i := range n {
		g.Go(func() error { return do(ctx, i) })
	}
	return g.Wait()
}

// changes tells when a ConfigMap was last seen to change, by watching all.
type changes struct {
	mu   sync.Mutex
	wait map[string]func(*corev1.ConfigMap, watch.EventType) bool
	done map[string]chan time.Time
}

// follow watches the ConfigMaps of the namespace.
func (l *lab) follow(ctx context.Context) (*changes, error) {
	w, err := l.client.Watch(ctx, &corev1.ConfigMapList{}, client.InNamespace(namespace))
	if err != nil {
		return nil, err
	}
	c := &changes{wait: map[string]func(*corev1.ConfigMap, watch.EventType) bool{}, done: map[string]chan time.Time{}}
	go func() {
		for e := range w.ResultChan() {
			if cm, ok := e.Object.(*corev1.ConfigMap); ok {
				c.see(cm, e.Type)
			}
		}
	}()
	return c, nil
}

func (c *changes) see(cm *corev1.ConfigMap, kind watch.EventType) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if want := c.wait[cm.Name]; want != nil && want(cm, kind) {
		c.done[cm.Name] <- time.Now()
		delete(c.wait, cm.Name)
	}
}

// expect returns when an event of the ConfigMap satisfies want.
func (c *changes) expect(name string, want func(*corev1.ConfigMap, watch.EventType) bool) <-chan time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wait[name], c.done[name] = want, make(chan time.Time, 1)
	return c.done[name]
}
