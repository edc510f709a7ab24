package main

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// crowd is a Deployment of pods that are all alike, in a namespace of its own.
type crowd struct {
	m    *mesh
	name string
}

// crowd creates one without pods. Its container has no probes, so that a pod is
// Ready when it runs, or when its sidecar is.
func (m *mesh) crowd(ctx context.Context, name string, sidecars bool) (*crowd, error) {
	c := &crowd{m, name}
	labels, injection := map[string]string{"app": name}, "disabled"
	if sidecars {
		injection = "enabled"
	}
	in := metav1.ObjectMeta{Namespace: name, Name: name}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"istio-injection": injection}}}
	if err := m.client.Create(ctx, ns); err != nil {
		return nil, err
	}
	// Without its account, the first pods would be refused and tried again later.
	account := client.ObjectKey{Namespace: name, Name: "default"}
	err := until(ctx, func() bool { return m.client.Get(ctx, account, &corev1.ServiceAccount{}) == nil })
	if err != nil {
		return nil, err
	}
	return c, m.client.Create(ctx, &appsv1.Deployment{ObjectMeta: in, Spec: appsv1.DeploymentSpec{
		Replicas: ptr.To[int32](0),
		Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels},
			Spec: corev1.PodSpec{
				TerminationGracePeriodSeconds: ptr.To[int64](2),
				Containers: []corev1.Container{{
					Name: "app", Image: "lab/shop:v1",
					Env:   []corev1.EnvVar{{Name: "APP", Value: name}},
					Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
				}},
			},
		},
	}})
}

// scale returns how many seconds it takes until so many pods are Ready.
func (c *crowd) scale(ctx context.Context, replicas int) (float64, error) {
	in := metav1.ObjectMeta{Namespace: c.name, Name: c.name}
	patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas))
	start := time.Now()
	if err := c.m.client.Patch(ctx, &appsv1.Deployment{ObjectMeta: in}, patch); err != nil {
		return 0, err
	}
	var d appsv1.Deployment
	err := poll(ctx, func() (bool, error) {
		if err := c.m.client.Get(ctx, client.ObjectKey{Namespace: c.name, Name: c.name}, &d); err != nil {
			return false, err
		}
		if d.Status.ObservedGeneration == d.Generation && int(d.Status.ReadyReplicas) == replicas {
			return true, nil
		}
		return false, sleep(ctx, 50*time.Millisecond)
	})
	if err != nil {
		return 0, fmt.Errorf("%d of %d pods of %s are ready: %w", d.Status.ReadyReplicas, replicas, c.name, err)
	}
	return time.Since(start).Seconds(), nil
}

// end returns when all pods are gone.
func (c *crowd) end(ctx context.Context) error {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: c.name}}
	if err := c.m.client.Delete(ctx, ns); err != nil {
		return err
	}
	return until(ctx, func() bool { return apierrors.IsNotFound(c.m.client.Get(ctx, client.ObjectKeyFromObject(ns), ns)) })
}

// few is how many pods share what the first of them brings.
const few = 2

// settled is how long after its start a cluster has given back what only the
// start needed. That must not happen between two looks at its memory.
const settled = 45 * time.Second

// sidecars measures what one more sidecar costs the machine, among others and
// all that keep them: the same pods with sidecars and without.
func sidecars(ctx context.Context, b *bench) error {
	m, err := b.shop(ctx)
	if err != nil {
		return err
	}
	const what = "one more sidecar: memory of the whole lab, beyond that for a pod without one"
	more := min(b.n(20), sidecarRoom()-few)
	if more < 1 {
		b.results.add(what, "not measured"+noRoom(), "<= 40 MB", "none")
		return nil
	}
	if err := sleep(ctx, settled); err != nil {
		return err
	}
	plain, _, err := m.marginal(ctx, "bench-plain", false, more)
	if err != nil {
		return err
	}
	meshed, proxy, err := m.marginal(ctx, "bench-meshed", true, more)
	if err != nil {
		return err
	}
	b.results.keep("sidecars/bytes-of-a-pod", plain)
	b.results.keep("sidecars/bytes-of-a-pod-with-sidecar", meshed)
	b.results.keep("sidecars/bytes-of-its-processes", proxy)
	samples := fmt.Sprintf("%d pods of each", more)
	b.results.add(what, fmt.Sprintf("%.0f MB", (meshed-plain)/1e6), "<= 40 MB", samples)
	b.results.add("of it its Envoy and pilot-agent", fmt.Sprintf("%.0f MB", proxy/1e6), "", samples)
	return nil
}

// marginal returns by how many bytes the whole lab, and the proxies in it,
// grow for each of more pods.
func (m *mesh) marginal(ctx context.Context, name string, sidecars bool, more int) (all, proxies float64, err error) {
	c, err := m.crowd(ctx, name, sidecars)
	if err != nil {
		return 0, 0, err
	}
	var seen []footprint
	for _, replicas := range []int{few, few + more} {
		if _, err := c.scale(ctx, replicas); err != nil {
			return 0, 0, err
		}
		if err := sleep(ctx, 15*time.Second); err != nil {
			return 0, 0, err
		}
		seen = append(seen, m.footprint())
	}
	n := float64(more)
	return (seen[1].bytes - seen[0].bytes) / n, (seen[1].proxies - seen[0].proxies) / n, c.end(ctx)
}

// pods measures from the moment when a Deployment is scaled from none until all
// its pods are Ready, with sidecars and without.
func pods(ctx context.Context, b *bench) error {
	m, err := b.shop(ctx)
	if err != nil {
		return err
	}
	count := b.n(100)
	took, err := m.together(ctx, "bench-plain", false, count)
	if err != nil {
		return err
	}
	b.results.keep("pods/plain-seconds", took)
	b.results.add(fmt.Sprintf("%d plain pods Ready, beside the shop", count), fmt.Sprintf("%.1f s", took), "<= 9 s", "1 run")

	const wanted = "<= 30 s for 100"
	meshed, limited := min(count, sidecarRoom()), ""
	if meshed < count {
		limited = noRoom()
	}
	if meshed == 0 {
		b.results.add("pods with sidecars Ready", "not measured"+limited, wanted, "none")
		return nil
	}
	if took, err = m.together(ctx, "bench-meshed", true, meshed); err != nil {
		return err
	}
	b.results.keep(fmt.Sprintf("pods/meshed-%d-seconds", meshed), took)
	b.results.add(fmt.Sprintf("%d pods with sidecars Ready, beside the shop%s", meshed, limited), fmt.Sprintf("%.1f s", took), wanted, "1 run")
	return nil
}

// noRoom says why there are not as many sidecars as were wanted.
func noRoom() string {
	return fmt.Sprintf(" (fs.inotify.max_user_instances is %d, which leaves room for no more)", inotifyLimit())
}

func (m *mesh) together(ctx context.Context, name string, sidecars bool, count int) (float64, error) {
	c, err := m.crowd(ctx, name, sidecars)
	if err != nil {
		return 0, err
	}
	took, err := c.scale(ctx, count)
	if err != nil {
		return 0, err
	}
	return took, c.end(ctx)
}
