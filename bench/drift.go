package main

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// drift measures from the moment an edit or a deletion by hand is sent until the
// object is seen to be restored: what the API server takes for both is included.
func drift(ctx context.Context, b *bench) error {
	apps := b.n(100)
	r, err := b.running(ctx, apps, 1, seldom)
	if err != nil {
		return err
	}
	defer r.end()
	var edits, deletes []float64
	for i := range apps {
		took, err := r.edit(ctx, i)
		if err != nil {
			return err
		}
		edits = append(edits, took)
		if took, err = r.remove(ctx, i); err != nil {
			return err
		}
		deletes = append(deletes, took)
	}
	b.results.keep("drift/edit-seconds", edits...)
	b.results.keep("drift/delete-seconds", deletes...)
	for _, by := range []struct {
		name    string
		samples []float64
	}{{"edit", edits}, {"deletion", deletes}} {
		samples := fmt.Sprintf("%d by hand", apps)
		b.results.add(fmt.Sprintf("drift by %s: sent to restored, p50", by.name), fmt.Sprintf("%.0f ms", 1000*median(by.samples)), "<= 30 ms", samples)
		b.results.add(fmt.Sprintf("drift by %s: sent to restored, p95", by.name), fmt.Sprintf("%.0f ms", 1000*quantile(by.samples, 0.95)), "<= 100 ms", samples)
	}
	return nil
}

func (r *running) edit(ctx context.Context, app int) (float64, error) {
	name := fmt.Sprintf("cm-%d-0", app)
	edited := false
	restored := r.changes.expect(name, func(cm *corev1.ConfigMap, _ watch.EventType) bool {
		edited = edited || cm.Data["version"] == "edited"
		return edited && cm.Data["version"] == "1"
	})
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	patch := client.RawPatch(types.MergePatchType, []byte(`{"data":{"version":"edited"}}`))
	start := time.Now()
	if err := r.client.Patch(ctx, cm, patch); err != nil {
		return 0, err
	}
	at, err := wait(ctx, restored)
	return at.Sub(start).Seconds(), err
}

func (r *running) remove(ctx context.Context, app int) (float64, error) {
	name := fmt.Sprintf("cm-%d-0", app)
	restored := r.changes.expect(name, func(_ *corev1.ConfigMap, kind watch.EventType) bool { return kind == watch.Added })
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	start := time.Now()
	if err := r.client.Delete(ctx, cm); err != nil {
		return 0, err
	}
	at, err := wait(ctx, restored)
	return at.Sub(start).Seconds(), err
}
