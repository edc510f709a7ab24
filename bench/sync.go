package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"mizzen.dev/mizzen/api/v1alpha1"
)

// firstSync compares the first sync of many small Applications with a loop
// that applies the same objects and writes as many statuses.
func firstSync(ctx context.Context, b *bench) error {
	apps := b.n(1000)
	ours, loop, writes, err := b.compareSyncs(ctx, apps, 1, true)
	if err != nil {
		return err
	}
	b.results.add(fmt.Sprintf("first sync of %d Applications x 1 ConfigMap of 2 KB, per second", apps), spread(ours, "%.0f"), "")
	b.results.add("the same objects by a bare loop of one apply and one status write, 16 at a time, per second", spread(loop, "%.0f"), "")
	b.results.add("first sync, ratio to the bare loop", spread(ratios(ours, loop), "%.2f"), ">= 0.7")
	b.results.add("status writes per Application", spread(writes, "%.3f"), "1")
	for _, who := range []string{"mizzen", "loop"} {
		name := fmt.Sprintf("sync-%dx1/%s/", apps, who)
		b.results.add("processor time per Application, "+who+": API server, client",
			fmt.Sprintf("%.1f ms, %.1f ms", median(b.results.samples[name+"server-ms"]), median(b.results.samples[name+"client-ms"])), "")
	}
	return nil
}

// largeSync compares few large Applications with a bare apply loop.
func largeSync(ctx context.Context, b *bench) error {
	apps, objects := b.n(50), 200
	ours, loop, _, err := b.compareSyncs(ctx, apps, objects, false)
	if err != nil {
		return err
	}
	b.results.add(fmt.Sprintf("first sync of %d Applications x %d objects, objects per second", apps, objects), spread(ours, "%.0f"), "")
	b.results.add("the same objects by a bare loop of applies, 16 at a time, per second", spread(loop, "%.0f"), "")
	b.results.add("large sync, ratio to the bare loop", spread(ratios(ours, loop), "%.2f"), ">= 0.8")
	return nil
}

func ratios(a, b []float64) []float64 {
	r := make([]float64, len(a))
	for i := range a {
		r[i] = a[i] / b[i]
	}
	return r
}

// compareSyncs alternates Mizzen and the loop, each on a fresh lab, and returns
// their rates: objects per second, or Applications where each has one.
func (b *bench) compareSyncs(ctx context.Context, apps, objects int, statuses bool) (ours, loop, writes []float64, err error) {
	name := fmt.Sprintf("sync-%dx%d", apps, objects)
	for range b.runs {
		took, perApp, err := b.syncOnce(ctx, apps, objects)
		if err != nil {
			return nil, nil, nil, err
		}
		bare, err := b.loopOnce(ctx, apps, objects, statuses)
		if err != nil {
			return nil, nil, nil, err
		}
		n := float64(apps * objects)
		ours, loop, writes = append(ours, n/took.Seconds()), append(loop, n/bare.Seconds()), append(writes, perApp)
	}
	b.results.keep(name+"/mizzen", ours...)
	b.results.keep(name+"/loop", loop...)
	return ours, loop, writes, nil
}

// syncOnce measures from the moment Git may be fetched, when all Applications
// exist and wait for it, until the last is Ready.
func (b *bench) syncOnce(ctx context.Context, apps, objects int) (took time.Duration, writes float64, err error) {
	r, err := waiting(ctx, apps, objects)
	if err != nil {
		return 0, 0, err
	}
	defer r.end()
	_, offset, err := r.requests(0, nobody)
	if err != nil {
		return 0, 0, err
	}
	name := fmt.Sprintf("sync-%dx%d", apps, objects)
	profiled := make(chan error, 1)
	go func() { profiled <- r.p.profile(ctx, b.profiles, name+".cpu", "profile?seconds=5") }()
	start, before := time.Now(), cpuOf(r.pid, r.p.cmd.Process.Pid)
	if err := r.release(ctx); err != nil {
		return 0, 0, err
	}
	if err := r.awaitReady(ctx, apps); err != nil {
		return 0, 0, err
	}
	took = time.Since(start)
	b.keepCPU(name+"/mizzen", apps, before, cpuOf(r.pid, r.p.cmd.Process.Pid))
	if err := <-profiled; err != nil {
		return 0, 0, err
	}
	n, _, err := r.requests(offset, func(_, verb, resource string) bool { return verb == "patch" && resource == "applications/status" })
	return took, float64(n) / float64(apps), err
}

// waiting is a fleet that waits for its Repository, which is suspended.
func waiting(ctx context.Context, apps, objects int) (*running, error) {
	l, err := newLab(ctx)
	if err != nil {
		return nil, err
	}
	r := &running{lab: l}
	for _, step := range []func() error{
		func() error { r.url, r.clone, err = l.repository(ctx, "mono", monorepo(apps, objects)); return err },
		func() error { r.p, err = startMizzen(ctx, l); return err },
		func() error { return l.installed(ctx) },
		func() error { return l.fleet(ctx, r.url, apps, true) },
		func() error { return sleep(ctx, 2*time.Second) }, // until Mizzen has seen them
	} {
		if err := step(); err != nil {
			r.end()
			return nil, err
		}
	}
	return r, nil
}

// install has the CRDs installed by a Mizzen that ends again.
func (l *lab) install(ctx context.Context) error {
	p, err := startMizzen(ctx, l)
	if err != nil {
		return err
	}
	defer p.stop()
	return l.installed(ctx)
}

// loopOnce is the baseline: the same objects and statuses by the shortest loop.
func (b *bench) loopOnce(ctx context.Context, apps, objects int, statuses bool) (time.Duration, error) {
	l, err := newLab(ctx)
	if err != nil {
		return 0, err
	}
	defer l.close()
	if err := l.install(ctx); err != nil {
		return 0, err
	}
	if err := l.fleet(ctx, "http://127.0.0.1:1/none.git", apps, true); err != nil {
		return 0, err
	}
	start, before := time.Now(), cpuOf(l.pid, os.Getpid())
	err = parallel(ctx, apps*objects, func(ctx context.Context, i int) error {
		app, o := i/objects, i%objects
		cm := &corev1.ConfigMap{}
		if err := yaml.Unmarshal([]byte(configMap(app, o, "1")), cm); err != nil {
			return err
		}
		cm.Namespace = namespace
		body, err := yaml.Marshal(cm)
		if err != nil {
			return err
		}
		patch := client.RawPatch(types.ApplyPatchType, body)
		if err := l.client.Patch(ctx, cm, patch, client.ForceOwnership, client.FieldOwner("bench")); err != nil || !statuses {
			return err
		}
		a := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("app-%d", app)}}
		return l.client.Status().Patch(ctx, a, client.RawPatch(types.MergePatchType, []byte(statusBody)))
	})
	took := time.Since(start)
	b.keepCPU(fmt.Sprintf("sync-%dx%d/loop", apps, objects), apps, before, cpuOf(l.pid, os.Getpid()))
	return took, err
}

// cpuOf is the processor time of the cluster's process and of its client.
func cpuOf(server, client int) [2]time.Duration {
	s, _ := usageOf(server)
	c, _ := usageOf(client)
	return [2]time.Duration{s, c}
}

// keepCPU notes the processor time for each Application, in milliseconds, since
// rates of a busy machine say more about the machine.
func (b *bench) keepCPU(name string, apps int, before, after [2]time.Duration) {
	for i, who := range []string{"server", "client"} {
		b.results.keep(name+"/"+who+"-ms", (after[i]-before[i]).Seconds()*1000/float64(apps))
	}
}

// statusBody is about as large as what Mizzen writes.
var statusBody = `{"status":{"observedGeneration":1,"revision":"` + strings.Repeat("a", 40) + `","attempted":"` + strings.Repeat("a", 40) + `",
"renderKey":"` + strings.Repeat("b", 64) + `","health":"Healthy","conditions":[
{"type":"Healthy","status":"True","reason":"Succeeded","message":"all objects are healthy","lastTransitionTime":"2026-01-01T00:00:00Z"},
{"type":"Ready","status":"True","reason":"Succeeded","message":"synced to aaaaaaaa","lastTransitionTime":"2026-01-01T00:00:00Z"},
{"type":"Synced","status":"True","reason":"Succeeded","message":"synced to aaaaaaaa","lastTransitionTime":"2026-01-01T00:00:00Z"}],
"history":[{"revision":"` + strings.Repeat("a", 40) + `","author":"bench","subject":"Begin","result":"Succeeded","message":"1 created",
"changes":["create ConfigMap bench/cm-0-0"],"started":"2026-01-01T00:00:00Z","milliseconds":5}],
"inventory":{"entries":[{"ref":"ConfigMap bench/cm-0-0","v":"v1","hash":"sha256:` + strings.Repeat("c", 32) + `","managed":"` + strings.Repeat("d", 16) + `"}]}}}`
