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
	"k8s.io/apimachinery/pkg/watch"
)

// running is a fleet that is synced.
type running struct {
	*lab
	p          *process
	url, clone string
	changes    *changes
}

// running starts one; interval is how often Git is polled, or 0 for the default.
func (b *bench) running(ctx context.Context, apps, objects int, interval time.Duration) (*running, error) {
	l, err := newLab(ctx)
	if err != nil {
		return nil, err
	}
	r := &running{lab: l}
	if r.url, r.clone, err = l.repository(ctx, "mono", monorepo(apps, objects)); err == nil {
		if r.p, err = startMizzen(ctx, l); err == nil {
			err = r.settle(ctx, apps, interval)
		}
	}
	if err != nil {
		r.end()
		return nil, err
	}
	return r, nil
}

func (r *running) settle(ctx context.Context, apps int, interval time.Duration) (err error) {
	for _, step := range []func() error{
		func() error { return r.installed(ctx) },
		func() error { return r.fleet(ctx, r.url, apps, interval, false) },
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

// changed is what one change of an Application cost.
type changed struct{ hook, push, requests, renders float64 }

// change measures one changed Application among many.
func change(ctx context.Context, b *bench) error {
	apps := b.n(1000)
	r, err := b.running(ctx, apps, 1, seldom)
	if err != nil {
		return err
	}
	defer r.end()
	var hook, push, requests, renders []float64
	for i := range max(5, b.n(50)) {
		c, err := r.changeOne(ctx, i%apps, fmt.Sprint(i+2))
		if err != nil {
			return err
		}
		hook, push, requests, renders = append(hook, c.hook), append(push, c.push), append(requests, c.requests), append(renders, c.renders)
	}
	b.results.keep("change/webhook-to-applied-seconds", hook...)
	b.results.keep("change/push-to-applied-seconds", push...)
	b.results.keep("change/requests", requests...)
	b.results.keep("change/renders", renders...)
	samples := fmt.Sprintf("%d pushes", len(hook))
	b.results.add(fmt.Sprintf("one of %d Applications changed: webhook to applied, p50", apps), fmt.Sprintf("%.3f s", median(hook)), "<= 0.15 s", samples)
	b.results.add("webhook to applied, p95", fmt.Sprintf("%.3f s", quantile(hook, 0.95)), "", samples)
	b.results.add("start of `git push` to applied, p50 (the webhook is sent when it has ended)", fmt.Sprintf("%.3f s", median(push)), "", samples)
	b.results.add("API requests by our identities for it, within 4 s", spread(requests, "%.0f"), "<= 5", samples)
	b.results.add("renderings for it", spread(renders, "%.0f"), "1", samples)
	return nil
}

func (r *running) changeOne(ctx context.Context, app int, version string) (c changed, err error) {
	before, err := r.p.metric(ctx, renderings)
	if err != nil {
		return c, err
	}
	offset, err := r.audited()
	if err != nil {
		return c, err
	}
	applied := r.changes.expect(fmt.Sprintf("cm-%d-0", app), func(cm *corev1.ConfigMap, _ watch.EventType) bool {
		return cm.Data["version"] == version
	})
	file := map[string]string{fmt.Sprintf("apps/app-%d/cm-0.yaml", app): configMap(app, 0, version)}
	if err := r.commit(ctx, r.clone, file, "Version "+version); err != nil {
		return c, err
	}
	pushed := time.Now()
	if err := r.push(ctx, r.clone); err != nil {
		return c, err
	}
	announced := time.Now()
	if err := r.announce(ctx); err != nil {
		return c, err
	}
	at, err := wait(ctx, applied)
	if err != nil {
		return c, err
	}
	c.hook, c.push = at.Sub(announced).Seconds(), at.Sub(pushed).Seconds()
	if err := sleep(ctx, settling); err != nil {
		return c, err
	}
	requests, err := r.requests(offset)
	if err != nil {
		return c, err
	}
	after, err := r.p.metric(ctx, renderings)
	c.requests, c.renders = float64(active(requests)), after-before
	return c, err
}

// renderings and polls are metrics: how many renderings there were, and how
// often Repositories were looked at.
const (
	renderings = "mizzen_render_duration_seconds_count"
	polls      = `controller_runtime_reconcile_total{controller="repository"`
)

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

// quietTime is a minute and a little, so that the default interval of a minute
// ends within it.
const quietTime = 70 * time.Second

// idle measures a minute in which nothing changes.
func idle(ctx context.Context, b *bench) error {
	apps := b.n(1000)
	r, err := b.running(ctx, apps, 1, 0)
	if err != nil {
		return err
	}
	defer r.end()
	if err := sleep(ctx, 10*time.Second); err != nil {
		return err
	}
	before, err := r.counters(ctx)
	if err != nil {
		return err
	}
	offset, err := r.audited()
	if err != nil {
		return err
	}
	if err := sleep(ctx, quietTime); err != nil {
		return err
	}
	requests, err := r.requests(offset)
	if err != nil {
		return err
	}
	after, err := r.counters(ctx)
	if err != nil {
		return err
	}
	for _, f := range []struct {
		sample, what, format, wanted string
		value                        float64
	}{
		{"renders", fmt.Sprintf("%d Applications, %.0f s in which nothing changes: renderings", apps, quietTime.Seconds()), "%.0f", "0", after.renders - before.renders},
		{"requests", "requests by our identities but watches and leases", "%.0f", "0", float64(active(requests))},
		{"polls", "polls of Git in that time, at the default interval of 1m", "%.0f", ">= 1", after.polls - before.polls},
		{"cpu-seconds", "processor time, workers included", "%.2f s", "", after.cpu - before.cpu},
		{"rss-mib", "resident memory, workers included", "%.0f MiB", "", after.rss},
	} {
		b.results.keep("idle/"+f.sample, f.value)
		b.results.add(f.what, fmt.Sprintf(f.format, f.value), f.wanted, "1 run")
	}
	return nil
}

// counters is what Mizzen has spent: processor time in seconds, resident memory
// in MiB.
type counters struct{ renders, polls, cpu, rss float64 }

func (r *running) counters(ctx context.Context) (c counters, err error) {
	if c.renders, err = r.p.metric(ctx, renderings); err != nil {
		return c, err
	}
	if c.polls, err = r.p.metric(ctx, polls); err != nil {
		return c, err
	}
	cpu, rss := r.p.usage()
	c.cpu, c.rss = cpu.Seconds(), float64(rss)/(1<<20)
	return c, nil
}
