package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/live"
)

// kindsName is the ConfigMap that says which kinds were ever applied, by
// destination.
const kindsName = "mizzen-kinds"

// kinds remembers which kinds were ever applied to a destination. A kind is
// noted before its first object is written, so that a leader who follows on a
// crash watches it, and knows the objects that are in no inventory yet. That is
// one write per kind and destination, not one per sync.
type kinds struct {
	mu    sync.Mutex
	known map[mizzen.Name]map[schema.GroupKind]bool
}

// recall returns the kinds that were ever applied to a destination.
func (r *Registry) recall(ctx context.Context, name mizzen.Name) ([]schema.GroupKind, error) {
	r.kinds.mu.Lock()
	defer r.kinds.mu.Unlock()
	stored, err := r.readKinds(ctx)
	if err != nil {
		return nil, err
	}
	return r.kinds.learn(name, stored.Data[keyOf(name)]), nil
}

// note remembers kinds for a destination.
func (r *Registry) note(ctx context.Context, name mizzen.Name, kinds []schema.GroupKind) error {
	r.kinds.mu.Lock()
	defer r.kinds.mu.Unlock()
	if r.kinds.knows(name, kinds) {
		return nil
	}
	stored, err := r.readKinds(ctx)
	if err != nil {
		return err
	}
	before := stored.DeepCopy()
	key := keyOf(name)
	if stored.Data == nil {
		stored.Data = map[string]string{}
	}
	all := append(r.kinds.learn(name, stored.Data[key]), kinds...)
	stored.Data[key] = formatKinds(all)
	if stored.ResourceVersion == "" {
		err = r.Writer.Create(ctx, stored)
	} else {
		err = r.Writer.Patch(ctx, stored, client.MergeFrom(before))
	}
	if err != nil {
		return fmt.Errorf("configmap %s/%s: %w", stored.Namespace, stored.Name, err)
	}
	r.kinds.learn(name, stored.Data[key])
	return nil
}

func (r *Registry) readKinds(ctx context.Context) (*corev1.ConfigMap, error) {
	stored := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: mizzen.SystemNamespace, Name: kindsName}}
	err := r.Reader.Get(ctx, client.ObjectKeyFromObject(stored), stored)
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("configmap %s/%s: %w", stored.Namespace, stored.Name, err)
	}
	return stored, nil
}

// knows tells whether all kinds are remembered. The lock is held.
func (k *kinds) knows(name mizzen.Name, kinds []schema.GroupKind) bool {
	return !slices.ContainsFunc(kinds, func(gk schema.GroupKind) bool { return !k.known[name][gk] })
}

// learn takes what is stored, and returns all that is known. The lock is held.
func (k *kinds) learn(name mizzen.Name, stored string) []schema.GroupKind {
	if k.known == nil {
		k.known = map[mizzen.Name]map[schema.GroupKind]bool{}
	}
	if k.known[name] == nil {
		k.known[name] = map[schema.GroupKind]bool{}
	}
	all := make([]schema.GroupKind, 0, len(k.known[name]))
	for line := range strings.Lines(stored) {
		if line = strings.TrimSpace(line); line != "" {
			k.known[name][live.ParseGroupKind(line)] = true
		}
	}
	for gk := range k.known[name] {
		all = append(all, gk)
	}
	return all
}

// keyOf is the key of a destination in the ConfigMap. The name of a namespace
// has no dot, so the two parts of a Cluster's can be told apart.
func keyOf(name mizzen.Name) string {
	if name.Namespace == "" {
		return name.Name
	}
	return name.Namespace + "." + name.Name
}

// formatKinds is one kind per line, sorted, each once.
func formatKinds(kinds []schema.GroupKind) string {
	lines := make([]string, 0, len(kinds))
	for _, gk := range kinds {
		lines = append(lines, gk.String())
	}
	slices.Sort(lines)
	return strings.Join(slices.Compact(lines), "\n") + "\n"
}

// watchKnown watches the kinds that were ever applied to a destination, once
// per term and before anything is planned for it.
func (r *Registry) watchKnown(ctx context.Context, name mizzen.Name, d *destination) error {
	if d.recalled.Load() {
		return nil
	}
	d.recalling.Lock()
	defer d.recalling.Unlock()
	if d.recalled.Load() {
		return nil
	}
	known, err := r.recall(ctx, name)
	if err != nil {
		return err
	}
	resources := make([]live.Resource, 0, len(known))
	for _, gk := range known {
		found, err := d.cluster.Preferred(ctx, gk)
		switch {
		case err == nil:
			resources = append(resources, found)
		case mizzen.KindOf(err) != mizzen.NotFound:
			return err
		}
	}
	// A kind that must not be watched is told by the Watcher's own handler.
	err = d.watcher.Ensure(ctx, resources...)
	if kind := mizzen.KindOf(err); err != nil && (kind == mizzen.Unreachable || kind == mizzen.Timeout || ctx.Err() != nil) {
		return err
	}
	d.recalled.Store(true)
	return nil
}
