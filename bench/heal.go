package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// subsets is the DestinationRule that the shop's routes depend on.
var subsets = client.ObjectKey{Namespace: "shop", Name: "reviews-destination"}

// selfHealMesh deletes the subsets by hand, under load. Requests fail from
// when the proxies have heard of that until they have heard of Mizzen's repair.
func selfHealMesh(ctx context.Context, b *bench) error {
	m, err := b.shop(ctx)
	if err != nil {
		return err
	}
	const rate = "100"
	if err := m.run(ctx, "", "bin/lab", "load", "start", "--dir", m.state(), "--qps", rate, "--connections", "16"); err != nil {
		return err
	}
	defer func() { _ = exec.Command("bin/lab", "load", "stop", "--dir", m.state()).Run() }()
	if err := sleep(ctx, 5*time.Second); err != nil {
		return err
	}
	var failed, back []float64
	for i := range b.n(10) {
		if i > 0 && i%inARow == 0 {
			if err := sleep(ctx, calm); err != nil {
				return err
			}
		}
		f, took, err := m.heal(ctx)
		if err != nil {
			return err
		}
		failed, back = append(failed, f), append(back, 1000*took)
	}
	b.results.keep("self-heal-mesh/failed-requests", failed...)
	b.results.keep("self-heal-mesh/back-milliseconds", back...)
	samples := fmt.Sprintf("%d by hand", len(back))
	b.results.add("DestinationRule of the shop deleted: sent to restored", spread(back, "%.0f ms"), "", samples)
	b.results.add("requests that fail for it, of "+rate+" a second through the gateway", spread(failed, "%.0f"), "", samples)
	return nil
}

// Mizzen takes what undoes an object again and again, within a minute each, for
// somebody who fights with it, and waits longer and longer before it goes on.
// A deletion now and then is what is measured: after so many in a row, calm is
// how long it takes to be forgotten.
const (
	inARow = 4
	calm   = 70 * time.Second
)

// heal deletes the subsets once, and returns how many requests failed until
// some seconds later, and how long the subsets were away.
func (m *mesh) heal(ctx context.Context) (failed, took float64, err error) {
	before, err := m.failed(ctx)
	if err != nil {
		return 0, 0, err
	}
	if took, err = m.deleteSubsets(ctx); err != nil {
		return 0, 0, err
	}
	if err := sleep(ctx, 5*time.Second); err != nil {
		return 0, 0, err
	}
	after, err := m.failed(ctx)
	return after - before, took, err
}

func (m *mesh) deleteSubsets(ctx context.Context) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	kind := schema.GroupVersionKind{Group: "networking.istio.io", Version: "v1", Kind: "DestinationRule"}
	rule, list := &unstructured.Unstructured{}, &unstructured.UnstructuredList{}
	rule.SetGroupVersionKind(kind)
	kind.Kind += "List"
	list.SetGroupVersionKind(kind)
	if err := m.client.Get(ctx, subsets, rule); err != nil {
		return 0, err
	}
	uid := rule.GetUID()
	w, err := m.client.Watch(ctx, list, client.InNamespace(subsets.Namespace), client.MatchingFields{"metadata.name": subsets.Name})
	if err != nil {
		return 0, err
	}
	defer w.Stop()
	start := time.Now()
	if err := m.client.Delete(ctx, rule); err != nil {
		return 0, err
	}
	for e := range w.ResultChan() {
		if o, ok := e.Object.(*unstructured.Unstructured); ok && e.Type == watch.Added && o.GetUID() != uid {
			return time.Since(start).Seconds(), nil
		}
	}
	return 0, errors.New("the DestinationRule did not come back")
}

// failed is how many requests of the load have failed so far.
func (m *mesh) failed(ctx context.Context) (float64, error) {
	out, err := exec.CommandContext(ctx, "bin/lab", "load", "report", "--dir", m.state(), "-o", "json").Output()
	if err != nil {
		return 0, fmt.Errorf("bin/lab load report: %w", err)
	}
	var report struct {
		Total struct{ Requests, Failed float64 }
	}
	if err := json.Unmarshal(out, &report); err != nil {
		return 0, err
	}
	if report.Total.Requests == 0 {
		return 0, errors.New("the load sends nothing")
	}
	return report.Total.Failed, nil
}
