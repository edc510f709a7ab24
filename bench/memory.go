package main

import (
	"context"
	"fmt"
	"time"
)

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
	if err := r.settle(ctx, apps, seldom); err != nil {
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
	b.results.keep("memory/heap-bytes-empty", empty)
	b.results.keep("memory/heap-bytes-full", full)
	b.results.keep("memory/rss-bytes", float64(rss))
	b.results.keep("memory/cpu-seconds", cpu.Seconds())
	const samples = "1 run"
	b.results.add(fmt.Sprintf("%.0f objects: live heap per object beyond the empty controller", n), fmt.Sprintf("%.0f bytes", (full-empty)/n), "<= 1024 bytes", samples)
	b.results.add("live heap of the empty controller, and with the objects", fmt.Sprintf("%.1f MiB, %.1f MiB", empty/(1<<20), full/(1<<20)), "", samples)
	b.results.add("resident memory then, workers included", fmt.Sprintf("%d MiB", rss>>20), "", samples)
	b.results.add("processor time for all of it", fmt.Sprintf("%.0f s", cpu.Seconds()), "", samples)
	return nil
}
