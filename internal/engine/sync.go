package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/apply"
	"mizzen.dev/mizzen/internal/live"
	"mizzen.dev/mizzen/internal/observe"
)

// Outcome is what became of a Sync. It is complete even if the Sync failed:
// what was written before the failure is in the inventory.
type Outcome struct {
	Inventory Inventory
	Counts    mizzen.Counts
	// Written are the changes that were carried out.
	Written []mizzen.Change
}

// Sync carries a Plan out, and nothing else. A Plan with a fatal Finding is
// refused before the first write. The error is a StageError.
func (e *Engine) Sync(ctx context.Context, p *Planned) (*Outcome, error) {
	x := &execution{p: p, outcome: &Outcome{Inventory: maps.Clone(p.kept)}}
	x.outcome.Counts.Unchanged = p.Unchanged
	if err := p.refusal(); err != nil {
		x.keepKnown()
		return x.outcome, err
	}
	if !p.Writes() {
		return x.outcome, nil
	}
	d := p.target.Destination
	if d.Note != nil {
		if err := d.Note(ctx, p.written()); err != nil {
			x.keepKnown()
			return x.outcome, &StageError{StageApply, err}
		}
	}
	if d.Watcher != nil {
		d.Watcher.Begin(p.Application)
		defer d.Watcher.End(p.Application)
		x.ensure(ctx)
	}
	ctx, end := observe.Span(ctx, observe.Apply)
	err := e.run(ctx, x)
	end(err)
	x.keepKnown()
	if err != nil && x.p.direct != nil && len(x.outcome.Written) == 0 && rejects(err) {
		// It is what a dry-run would have said.
		x.p.reject(err)
		return x.outcome, x.p.refusal()
	}
	if err != nil {
		return x.outcome, &StageError{StageApply, err}
	}
	return x.outcome, nil
}

func (e *Engine) run(ctx context.Context, x *execution) error {
	if t := x.p.target.Policy.Timeout; t > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, t, &mizzen.Error{
			Kind: mizzen.Timeout, Object: "application " + x.p.Application.String(),
			Err:    fmt.Errorf("the sync took longer than %s", t),
			Remedy: "see which object is not ready, or raise spec.sync.timeout",
		})
		defer cancel()
	}
	_, err := x.p.target.Destination.Writer.Run(ctx, x.p.Plan, apply.RunOptions{
		Ready:   func(ctx context.Context, refs []mizzen.Ref) error { return e.waitReady(ctx, x.p, refs) },
		Observe: x.observe, Unchanged: x.p.unchanged(),
		Whole: x.p.direct != nil,
		// The sync's own deadline bounds its waves.
		WaveTimeout: max(x.p.target.Policy.Timeout, time.Minute),
	})
	if err != nil && ctx.Err() != nil {
		// The cause names what was waited for, or who superseded the sync.
		return errors.Join(context.Cause(ctx), err)
	}
	return err
}

// unchanged are the objects, by wave, that the Plan leaves as they are and that
// what it writes has to wait for. What only restores a drift waits for nothing.
func (p *Planned) unchanged() map[int][]mizzen.Ref {
	last, changed := math.MinInt, map[mizzen.Ref]bool{}
	for _, c := range p.Changes {
		changed[c.Ref] = true
		if c.Desired != nil && c.Action.Writes() {
			last = max(last, c.Wave)
		}
	}
	unchanged := map[int][]mizzen.Ref{}
	if p.target.Only {
		return unchanged
	}
	for ref, o := range p.objects {
		if options, _ := mizzen.OptionsOf(o.Unstructured); !changed[ref] && options.Wave < last {
			unchanged[options.Wave] = append(unchanged[options.Wave], ref)
		}
	}
	return unchanged
}

// written are the kinds of the objects that the Plan applies, each once.
func (p *Planned) written() []schema.GroupKind {
	seen := map[schema.GroupKind]bool{}
	for _, c := range p.Changes {
		if c.Desired != nil {
			seen[c.Ref.GroupKind()] = true
		}
	}
	return slices.Collect(maps.Keys(seen))
}

// ErrOwnedByAnother says that an object belongs to another Application.
var ErrOwnedByAnother = errors.New("an object belongs to another application")

// rejects tells whether the API server finds fault with the object itself. Of
// the conflicts only that of an immutable field is one: others pass.
func rejects(err error) bool {
	kind := mizzen.KindOf(err)
	return kind == mizzen.Invalid || kind == mizzen.Refused || errors.Is(err, apply.ErrImmutable)
}

// reject adds the Finding that a dry-run of the direct change would have made.
func (p *Planned) reject(err error) {
	for _, c := range p.Changes {
		if c.Desired != nil {
			j := judgement{change: c}
			j.find(codeOf(err), mizzen.Fatal, err.Error(), "")
			p.Findings = append(p.Findings, j.findings...)
		}
	}
}

// refusal returns why the Plan must not be carried out.
func (p *Planned) refusal() error {
	if mizzen.Worst(p.Findings) != mizzen.Fatal {
		return nil
	}
	var first *mizzen.Finding
	n := 0
	for i, f := range p.Findings {
		if f.Severity == mizzen.Fatal {
			n++
			if first == nil {
				first = &p.Findings[i]
			}
		}
	}
	message := first.Message
	if n > 1 {
		message = fmt.Sprintf("%s (and %d more)", message, n-1)
	}
	refusal := &mizzen.Error{
		Kind: mizzen.Invalid, Object: first.Ref.String(), Origin: first.Origin, Remedy: first.Remedy,
		Err: fmt.Errorf("%s %s", first.Code, message),
	}
	if first.Code == mizzen.CodeOwnedByAnother {
		refusal.Kind, refusal.Err = mizzen.Conflict, &owned{refusal.Err}
	}
	return &StageError{StageValidate, refusal}
}

// owned is an ErrOwnedByAnother in the words of its Finding.
type owned struct{ error }

// Is tells errors.Is what the words mean.
func (*owned) Is(target error) bool { return target == ErrOwnedByAnother }

// execution collects what becomes of a Plan.
type execution struct {
	p       *Planned
	mu      sync.Mutex
	outcome *Outcome
}

// ensure watches the kinds that are about to be written, so that what happens
// to them from now on is seen. A kind that cannot be watched is still synced;
// that its drift is not seen is told by the Watcher's own handler.
func (x *execution) ensure(ctx context.Context) {
	d := x.p.target.Destination
	var resources []live.Resource
	seen := map[schema.GroupKind]bool{}
	for _, c := range x.p.Changes {
		if c.Desired == nil || seen[c.Ref.GroupKind()] {
			continue
		}
		seen[c.Ref.GroupKind()] = true
		if r, err := d.Cluster.Resource(ctx, c.Desired.GroupVersionKind()); err == nil {
			resources = append(resources, r)
		}
	}
	_ = d.Watcher.Ensure(ctx, resources...)
}

// observe notes one change that was carried out, or that failed.
func (x *execution) observe(c mizzen.Change, r apply.Result, err error) {
	if err != nil {
		return
	}
	x.p.told(&c, r)
	managed, _ := live.ManagedHash(r.ManagedFields, x.p.manager())
	if w := x.p.target.Destination.Watcher; w != nil {
		if c.Action == mizzen.Delete || c.Action == mizzen.Keep {
			w.ExpectGone(c.Ref)
		} else {
			w.Expect(x.p.Application, c.Ref, live.Applied{UID: types.UID(r.UID), Managed: managed, ResourceVersion: r.ResourceVersion})
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.outcome.Written = append(x.outcome.Written, c)
	switch c.Action {
	case mizzen.Create:
		x.outcome.Counts.Created++
	case mizzen.Update, mizzen.Replace:
		x.outcome.Counts.Updated++
	case mizzen.Delete:
		x.outcome.Counts.Deleted++
	case mizzen.Keep:
		x.outcome.Counts.Kept++
	}
	if _, rendered := x.p.objects[c.Ref]; rendered && c.Desired != nil {
		gv, _ := schema.ParseGroupVersion(c.APIVersion)
		x.outcome.Inventory[c.Ref] = Entry{Version: gv.Version, Content: c.Content, Managed: managed}
	}
}

// keepKnown keeps in the inventory what was applied earlier and was not
// reached this time, without its hashes: what it is now is not known.
func (x *execution) keepKnown() {
	done := map[mizzen.Ref]bool{}
	for _, c := range x.outcome.Written {
		done[c.Ref] = true
	}
	for _, c := range x.p.Changes {
		if c.Action == mizzen.Skip {
			x.outcome.Counts.Skipped++
		}
		known, synced := x.p.target.Known[c.Ref]
		if _, have := x.outcome.Inventory[c.Ref]; have || done[c.Ref] || !synced {
			continue
		}
		x.outcome.Inventory[c.Ref] = Entry{Version: known.Version}
	}
}
