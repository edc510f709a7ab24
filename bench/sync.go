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

// synced is what one first sync by Mizzen was like.
type synced struct {
	took time.Duration
	// statuses is how often each Application's status was written.
	statuses []float64
	// events is how often Events were written.
	events float64
}

// compared are the rates of Mizzen and of the loop, and the writes of all runs.
type compared struct{ ours, loop, statuses, events []float64 }

// firstSync compares the first sync of many small Applications with a loop
// that applies the same objects and writes as many statuses.
func firstSync(ctx context.Context, b *bench) error {
	apps := b.n(1000)
	c, err := b.compareSyncs(ctx, apps, 1, true)
	if err != nil {
		return err
	}
	b.results.add(fmt.Sprintf("first sync of %d Applications x 1 ConfigMap of 2 KB, per second", apps), spread(c.ours, "%.0f"), "", b.times())
	b.results.add("the same objects by a bare loop of one apply and one status write, 16 at a time, per second", spread(c.loop, "%.0f"), "", b.times())
	b.results.add("first sync, ratio to the bare loop", spread(ratios(c.ours, c.loop), "%.2f"), ">= 0.7", b.times())
	b.results.add("status writes of each Application, until 4 s after the last was Ready", spread(c.statuses, "%.0f"), "1",
		fmt.Sprintf("%d Applications x %s", apps, b.times()))
	b.results.add("writes of Events for all of it", spread(c.events, "%.0f"), "one Event per commit", b.times())
	for _, who := range []string{"mizzen", "loop"} {
		name := fmt.Sprintf("sync-%dx1/%s/", apps, who)
		b.results.add("processor time per Application, "+who+": API server, client",
			fmt.Sprintf("%.1f ms, %.1f ms", median(b.results.Samples[name+"server-ms"]), median(b.results.Samples[name+"client-ms"])), "", b.times())
	}
	return nil
}

// largeSync compares few large Applications with a bare apply loop.
func largeSync(ctx context.Context, b *bench) error {
	apps, objects := b.n(50), 200
	c, err := b.compareSyncs(ctx, apps, objects, false)
	if err != nil {
		return err
	}
	b.results.add(fmt.Sprintf("first sync of %d Applications x %d objects, objects per second", apps, objects), spread(c.ours, "%.0f"), "", b.times())
	b.results.add("the same objects by a bare loop of applies, 16 at a time, per second", spread(c.loop, "%.0f"), "", b.times())
	b.results.add("large sync, ratio to the bare loop", spread(ratios(c.ours, c.loop), "%.2f"), ">= 0.8", b.times())
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
func (b *bench) compareSyncs(ctx context.Context, apps, objects int, statuses bool) (c compared, err error) {
	name := fmt.Sprintf("sync-%dx%d", apps, objects)
	for range b.runs {
		ours, err := b.syncOnce(ctx, apps, objects)
		if err != nil {
			return c, err
		}
		bare, err := b.loopOnce(ctx, apps, objects, statuses)
		if err != nil {
			return c, err
		}
		n := float64(apps * objects)
		c.ours, c.loop = append(c.ours, n/ours.took.Seconds()), append(c.loop, n/bare.Seconds())
		c.statuses, c.events = append(c.statuses, ours.statuses...), append(c.events, ours.events)
	}
	b.results.keep(name+"/mizzen", c.ours...)
	b.results.keep(name+"/loop", c.loop...)
	b.results.keep(name+"/mizzen/status-writes-of-each", c.statuses...)
	b.results.keep(name+"/mizzen/event-writes", c.events...)
	return c, nil
}

// syncOnce measures from the moment Git may be fetched, when all Applications
// exist and wait for it, until the last is Ready.
func (b *bench) syncOnce(ctx context.Context, apps, objects int) (s synced, err error) {
	r, err := waiting(ctx, apps, objects)
	if err != nil {
		return s, err
	}
	defer r.end()
	offset, err := r.audited()
	if err != nil {
		return s, err
	}
	name := fmt.Sprintf("sync-%dx%d", apps, objects)
	profiled := make(chan error, 1)
	go func() { profiled <- r.p.profile(ctx, b.profiles, name+".cpu", "profile?seconds=5") }()
	start, before := time.Now(), cpuOf(r.pid, r.p.cmd.Process.Pid)
	if err := r.release(ctx); err != nil {
		return s, err
	}
	if err := r.awaitReady(ctx, apps); err != nil {
		return s, err
	}
	s.took = time.Since(start)
	b.keepCPU(name+"/mizzen", apps, before, cpuOf(r.pid, r.p.cmd.Process.Pid))
	if err := <-profiled; err != nil {
		return s, err
	}
	if err := sleep(ctx, settling); err != nil {
		return s, err
	}
	requests, err := r.requests(offset)
	s.count(requests, apps)
	return s, err
}

// settling is how long after a sync its last writes may come: a commit is
// announced when it has been quiet for two seconds.
const settling = 4 * time.Second

// count notes how often each Application's status was written, and Events.
func (s *synced) count(requests []request, apps int) {
	perApp := map[string]int{}
	for _, r := range requests {
		switch {
		case !r.writes():
		case r.resource == "applications/status":
			perApp[r.name]++
		case r.resource == "events":
			s.events++
		}
	}
	for i := range apps {
		s.statuses = append(s.statuses, float64(perApp[fmt.Sprintf("app-%d", i)]))
	}
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
		func() error { return l.fleet(ctx, r.url, apps, seldom, true) },
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
	if err := l.fleet(ctx, "http://127.0.0.1:1/none.git", apps, seldom, true); err != nil {
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
