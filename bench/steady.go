package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// running is a fleet that is synced.
type running struct {
	*lab
	p          *process
	url, clone string
	changes    *changes
}

func (b *bench) running(ctx context.Context, apps, objects int) (*running, error) {
	l, err := newLab(ctx)
	if err != nil {
		return nil, err
	}
	r := &running{lab: l}
	if r.url, r.clone, err = l.repository(ctx, "mono", monorepo(apps, objects)); err == nil {
		if r.p, err = startMizzen(ctx, l); err == nil {
			err = r.settle(ctx, apps)
		}
	}
	if err != nil {
		r.end()
		return nil, err
	}
	return r, nil
}

func (r *running) settle(ctx context.Context, apps int) (err error) {
	for _, step := range []func() error{
		func() error { return r.installed(ctx) },
		func() error { return r.fleet(ctx, r.url, apps, false) },
		func() error { return r.awaitReady(ctx, apps) },
		func() error { r.changes, err = r.follow(ctx); return err },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return sleep(ctx, 5*time.Second) // until the events of the first sync are announced
}

func (r *running) end() {
	if r.p != nil && r.p.cmd.Process != nil {
		r.p.stop()
	}
	r.close()
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// announce sends a signed webhook.
func (r *running) announce(ctx context.Context) error {
	body, err := json.Marshal(map[string]string{"repository": r.url, "ref": "refs/heads/main"})
	if err != nil {
		return err
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, r.p.url+"/webhook", bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-Mizzen-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusAccepted {
		return fmt.Errorf("the webhook answers %s", response.Status)
	}
	return nil
}

// change measures one changed Application among many.
func change(ctx context.Context, b *bench) error {
	apps := b.n(1000)
	r, err := b.running(ctx, apps, 1)
	if err != nil {
		return err
	}
	defer r.end()
	var hook, push, requests, renders []float64
	for i := range max(5, b.n(50)) {
		h, p, n, k, err := r.changeOne(ctx, i%apps, fmt.Sprint(i+2))
		if err != nil {
			return err
		}
		hook, push, requests, renders = append(hook, h), append(push, p), append(requests, n), append(renders, k)
	}
	b.results.keep("change/webhook-to-applied-seconds", hook...)
	b.results.keep("change/push-to-applied-seconds", push...)
	b.results.keep("change/requests", requests...)
	b.results.add(fmt.Sprintf("one of %d Applications changed: webhook to applied, p50", apps), fmt.Sprintf("%.3f s", median(hook)), "<= 0.15 s")
	b.results.add("webhook to applied, p95", fmt.Sprintf("%.3f s", quantile(hook, 0.95)), "")
	b.results.add("start of git push to applied, p50", fmt.Sprintf("%.3f s", median(push)), "")
	b.results.add("API requests by our identities for it, p50 (max)", fmt.Sprintf("%.0f (%.0f)", median(requests), quantile(requests, 1)), "<= 5")
	b.results.add("renderings for it", fmt.Sprintf("%.0f", quantile(renders, 1)), "1")
	return nil
}

func (r *running) changeOne(ctx context.Context, app int, version string) (hook, push, requests, renders float64, err error) {
	before, err := r.p.metric(ctx, "mizzen_render_duration_seconds_count")
	if err != nil {
		return 0, 0, 0, 0, err
	}
	_, offset, err := r.requests(0, nobody)
	if err != nil {
		return 0, 0, 0, 0, err
	}
	applied := r.changes.expect(fmt.Sprintf("cm-%d-0", app), func(cm *corev1.ConfigMap, _ watch.EventType) bool {
		return cm.Data["version"] == version
	})
	pushed := time.Now()
	file := map[string]string{fmt.Sprintf("apps/app-%d/cm-0.yaml", app): configMap(app, 0, version)}
	if err := r.commit(ctx, r.clone, file, "Version "+version); err != nil {
		return 0, 0, 0, 0, err
	}
	announced := time.Now()
	if err := r.announce(ctx); err != nil {
		return 0, 0, 0, 0, err
	}
	at, err := wait(ctx, applied)
	if err != nil {
		return 0, 0, 0, 0, err
	}
	if err := sleep(ctx, 3*time.Second); err != nil { // the commit is announced after it is quiet
		return 0, 0, 0, 0, err
	}
	n, _, err := r.requests(offset, notWatching)
	if err != nil {
		return 0, 0, 0, 0, err
	}
	after, err := r.p.metric(ctx, "mizzen_render_duration_seconds_count")
	return at.Sub(announced).Seconds(), at.Sub(pushed).Seconds(), float64(n), after - before, err
}

func nobody(string, string, string) bool { return false }

// notWatching leaves out what a steady state may do.
func notWatching(_, verb, resource string) bool { return verb != "watch" && resource != "leases" }

func wait(ctx context.Context, done <-chan time.Time) (time.Time, error) {
	select {
	case at := <-done:
		return at, nil
	case <-time.After(time.Minute):
		return time.Time{}, errors.New("nothing happened within a minute")
	case <-ctx.Done():
		return time.Time{}, ctx.Err()
	}
}

// idle measures a minute in which nothing changes.
func idle(ctx context.Context, b *bench) error {
	apps := b.n(1000)
	r, err := b.running(ctx, apps, 1)
	if err != nil {
		return err
	}
	defer r.end()
	if err := sleep(ctx, 10*time.Second); err != nil {
		return err
	}
	_, offset, err := r.requests(0, nobody)
	if err != nil {
		return err
	}
	renders, err := r.p.metric(ctx, "mizzen_render_duration_seconds_count")
	if err != nil {
		return err
	}
	cpu, _ := r.p.usage()
	const minute = time.Minute
	if err := sleep(ctx, minute); err != nil {
		return err
	}
	after, rss := r.p.usage()
	n, _, err := r.requests(offset, notWatching)
	if err != nil {
		return err
	}
	rendersAfter, err := r.p.metric(ctx, "mizzen_render_duration_seconds_count")
	if err != nil {
		return err
	}
	b.results.add(fmt.Sprintf("%d Applications, 60 s in which nothing changes: renderings", apps), fmt.Sprintf("%.0f", rendersAfter-renders), "0")
	b.results.add("requests by our identities but watches and leases", fmt.Sprint(n), "0")
	b.results.add("processor time, workers included", fmt.Sprintf("%.2f s", (after-cpu).Seconds()), "")
	b.results.add("resident memory, workers included", fmt.Sprintf("%d MiB", rss>>20), "")
	return nil
}

// drift measures from the answer to an edit or a deletion by hand until the
// object is seen to be restored.
func drift(ctx context.Context, b *bench) error {
	apps := b.n(100)
	r, err := b.running(ctx, apps, 1)
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
	for name, samples := range map[string][]float64{"edit": edits, "deletion": deletes} {
		b.results.add(fmt.Sprintf("drift by %s restored, p50 of %d", name, apps), fmt.Sprintf("%.0f ms", 1000*median(samples)), "<= 30 ms")
		b.results.add(fmt.Sprintf("drift by %s restored, p95", name), fmt.Sprintf("%.0f ms", 1000*quantile(samples, 0.95)), "<= 100 ms")
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
	if err := r.client.Patch(ctx, cm, patch); err != nil {
		return 0, err
	}
	return since(ctx, time.Now(), restored)
}

func (r *running) remove(ctx context.Context, app int) (float64, error) {
	name := fmt.Sprintf("cm-%d-0", app)
	restored := r.changes.expect(name, func(_ *corev1.ConfigMap, kind watch.EventType) bool { return kind == watch.Added })
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	if err := r.client.Delete(ctx, cm); err != nil {
		return 0, err
	}
	return since(ctx, time.Now(), restored)
}

func since(ctx context.Context, start time.Time, done <-chan time.Time) (float64, error) {
	at, err := wait(ctx, done)
	// The watch may be faster than the answer to the request.
	return max(0, at.Sub(start).Seconds()), err
}

// memory compares the live heap of a controller without objects with that of
// one that keeps many.
func memory(ctx context.Context, b *bench) error {
	apps, objects := b.n(50), 1000
	l, err := newLab(ctx)
	if err != nil {
		return err
	}
	r := &running{lab: l}
	defer r.end()
	if r.url, r.clone, err = l.repository(ctx, "mono", monorepo(apps, objects)); err != nil {
		return err
	}
	if r.p, err = startMizzen(ctx, l); err != nil {
		return err
	}
	if err := l.installed(ctx); err != nil {
		return err
	}
	if err := sleep(ctx, 5*time.Second); err != nil {
		return err
	}
	empty, err := r.p.liveHeap(ctx)
	if err != nil {
		return err
	}
	if err := r.settle(ctx, apps); err != nil {
		return err
	}
	if err := sleep(ctx, 20*time.Second); err != nil {
		return err
	}
	full, err := r.p.liveHeap(ctx)
	if err != nil {
		return err
	}
	if err := r.p.profile(ctx, b.profiles, "memory.heap", "heap"); err != nil {
		return err
	}
	cpu, rss := r.p.usage()
	n := float64(apps * objects)
	b.results.add(fmt.Sprintf("%.0f objects: live heap per object beyond the empty controller", n), fmt.Sprintf("%.0f bytes", (full-empty)/n), "<= 1024 bytes")
	b.results.add("live heap of the empty controller, and with the objects", fmt.Sprintf("%.1f MiB, %.1f MiB", empty/(1<<20), full/(1<<20)), "")
	b.results.add("resident memory then, workers included", fmt.Sprintf("%d MiB", rss>>20), "")
	b.results.add("processor time for all of it", fmt.Sprintf("%.0f s", cpu.Seconds()), "")
	return nil
}
