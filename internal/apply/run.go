package apply

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"mizzen.dev/mizzen"
)

// RunOptions says how a Plan is carried out.
type RunOptions struct {
	// Ready waits until objects are healthy before the first write of the next
	// wave: those of lower waves, changed or not. ctx carries the deadline of a
	// wave. Nil: waves do not wait.
	Ready func(ctx context.Context, refs []mizzen.Ref) error
	// Unchanged are objects, by wave, that the Plan leaves as they are. Higher
	// waves wait for them too: an earlier run may have written them, and ended
	// before they were up.
	Unchanged map[int][]mizzen.Ref
	// Observe hears of every change as soon as it is done or has failed, one
	// call at a time.
	Observe func(mizzen.Change, Result, error)
	// Concurrency bounds the writes under way; 0 means 16.
	Concurrency int
	// WaveTimeout bounds the writes of each wave, and the wait for it; 0 means
	// 5 minutes.
	WaveTimeout time.Duration
	// Namespaces are created first if they do not exist. They carry no mark of
	// ours, and are never deleted.
	Namespaces []string
	// Whole asks for the objects as they are stored; see Result.Object.
	Whole bool
}

const (
	defaultConcurrency = 16
	defaultWaveTimeout = 5 * time.Minute
)

// Outcome is what became of a Plan.
type Outcome struct {
	// Applied are the objects that are now as the Plan says, those included
	// that are kept without being managed.
	Applied map[mizzen.Ref]Result
	// Deleted are gone, or on their way.
	Deleted []mizzen.Ref
	// Failed says why, object by object.
	Failed map[mizzen.Ref]error
	// Counts counts what was done; skipped and unchanged objects are the
	// Plan's.
	Counts mizzen.Counts
}

// Run carries out a Plan: wave by wave and within a wave stage by stage,
// everything of a stage at the same time; then it takes away what left Git, in
// reverse order. When something fails, the rest of its stage is still tried,
// nothing after it is, and nothing is deleted.
//
// The error joins one Error per object. If ctx is canceled, the error is
// context.Canceled and the Outcome says how far it came; running the Plan
// again, or a new one, finishes it.
func (a *Applier) Run(ctx context.Context, plan *mizzen.Plan, o RunOptions) (Outcome, error) {
	o.Concurrency = cmp.Or(o.Concurrency, defaultConcurrency)
	o.WaveTimeout = cmp.Or(o.WaveTimeout, defaultWaveTimeout)
	counts := plan.Counts()
	r := &run{Applier: a, RunOptions: o, below: map[int][]mizzen.Ref{}, definitions: map[schema.GroupKind]definition{}, out: Outcome{
		Applied: map[mizzen.Ref]Result{}, Failed: map[mizzen.Ref]error{},
		Counts: mizzen.Counts{Skipped: counts.Skipped, Unchanged: counts.Unchanged},
	}}
	var applies, removals []mizzen.Change
	for _, c := range plan.Changes {
		switch c.Action {
		case mizzen.Create, mizzen.Update, mizzen.Replace:
			applies = append(applies, c)
		case mizzen.Delete, mizzen.Keep:
			removals = append(removals, c)
		case mizzen.None, mizzen.Skip:
		}
	}
	maps.Copy(r.below, o.Unchanged)
	r.defineKinds(applies)
	err := r.run(ctx, applies, removals)
	return r.out, err
}

// run is one Plan under way.
type run struct {
	*Applier
	RunOptions
	// definitions are the kinds that the Plan itself brings or changes.
	definitions map[schema.GroupKind]definition
	// below are the objects, by wave, that higher waves still have to wait for.
	below map[int][]mizzen.Ref

	mu  sync.Mutex
	out Outcome
}

// defineKinds makes the kinds that the Plan defines known: discovery is
// behind, and need not be asked.
func (r *run) defineKinds(changes []mizzen.Change) {
	for _, c := range changes {
		if c.Ref.GroupKind() == definitionKind && c.Desired != nil {
			d := definitionOf(*c.Desired)
			r.definitions[d.kind] = d
		}
	}
	if len(r.definitions) == 0 {
		return
	}
	known, mapper := *r.Applier, r.mapper
	known.mapper = func(ctx context.Context, gvk schema.GroupVersionKind) (schema.GroupVersionResource, bool, error) {
		if d, ok := r.definitions[gvk.GroupKind()]; ok && slices.Contains(d.versions, gvk.Version) {
			return gvk.GroupVersion().WithResource(d.plural), d.namespaced, nil
		}
		return mapper(ctx, gvk)
	}
	r.Applier = &known
}

func (r *run) run(ctx context.Context, applies, removals []mizzen.Change) error {
	for _, name := range r.Namespaces {
		if err := r.EnsureNamespace(ctx, name); err != nil {
			return err
		}
	}
	ordered := groups(applies)
	for len(ordered) > 0 {
		n := 1
		for n < len(ordered) && ordered[n].wave == ordered[0].wave {
			n++
		}
		if err := r.awaitBelow(ctx, ordered[0].wave); err != nil {
			return err
		}
		if err := r.wave(ctx, ordered[:n]); err != nil {
			return err
		}
		ordered = ordered[n:]
	}
	return r.removeAll(ctx, removals)
}

// awaitBelow waits until the objects of lower waves are healthy.
func (r *run) awaitBelow(ctx context.Context, wave int) error {
	var refs []mizzen.Ref
	highest := 0
	for _, lower := range slices.Sorted(maps.Keys(r.below)) {
		if lower < wave {
			refs, highest = append(refs, r.below[lower]...), lower
			delete(r.below, lower)
		}
	}
	if len(refs) == 0 || r.Ready == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.WaveTimeout)
	defer cancel()
	if err := r.Ready(ctx, refs); err != nil {
		return fmt.Errorf("wave %d: %w", highest, err)
	}
	return nil
}

// wave carries out the stages of one wave.
func (r *run) wave(ctx context.Context, stages []group) error {
	ctx, cancel := context.WithTimeout(ctx, r.WaveTimeout)
	defer cancel()
	for _, g := range stages {
		if err := r.all(ctx, g.changes, r.applyChange); err != nil {
			return err
		}
		for _, c := range g.changes {
			r.below[g.wave] = append(r.below[g.wave], c.Ref)
		}
	}
	return nil
}

// removeAll takes away what left Git, in reverse order. A group whose objects
// go slowly is waited for, since a controller must outlive what it cleans up.
func (r *run) removeAll(ctx context.Context, removals []mizzen.Change) error {
	ordered := groups(removals)
	for i, g := range slices.Backward(ordered) {
		err := func() error {
			ctx, cancel := context.WithTimeout(ctx, r.WaveTimeout)
			defer cancel()
			return r.all(ctx, g.changes, func(ctx context.Context, c mizzen.Change) (Result, error) {
				return r.removeChange(ctx, c, i > 0)
			})
		}()
		if err != nil {
			return err
		}
	}
	return nil
}

// all carries out changes at the same time, and returns all errors.
func (r *run) all(ctx context.Context, changes []mizzen.Change, do func(context.Context, mizzen.Change) (Result, error)) error {
	errs := make([]error, len(changes))
	var g errgroup.Group
	g.SetLimit(r.Concurrency)
	for i, c := range changes {
		g.Go(func() error {
			var res Result
			err := ctx.Err()
			if err == nil {
				res, err = do(ctx, c)
			}
			obj := named(c)
			if c.Desired != nil {
				obj = *c.Desired
			}
			errs[i] = r.explain(obj, c.Ref, err)
			r.record(c, res, errs[i])
			return nil
		})
	}
	_ = g.Wait() // the functions return no error
	if err := ctx.Err(); errors.Is(err, context.Canceled) {
		return err
	}
	return errors.Join(errs...)
}

func (r *run) record(c mizzen.Change, res Result, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case errors.Is(err, context.Canceled):
		return
	case err != nil:
		r.out.Failed[c.Ref] = err
	case c.Action == mizzen.Delete:
		r.out.Deleted = append(r.out.Deleted, c.Ref)
		r.out.Counts.Deleted++
	default:
		r.out.Applied[c.Ref] = res
		switch c.Action {
		case mizzen.Create:
			r.out.Counts.Created++
		case mizzen.Keep:
			r.out.Counts.Kept++
		default:
			r.out.Counts.Updated++
		}
	}
	if r.Observe != nil {
		r.Observe(c, res, err)
	}
}
