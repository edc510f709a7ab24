package application

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/engine"
	"mizzen.dev/mizzen/internal/live"
)

// Report takes an event of a watch. It never blocks.
func (r *Reconciler) Report(e live.Event) {
	if e.Type == live.Removed {
		return
	}
	m := r.memories.of(e.Owner)
	if _, drifted := m.driftNow()[e.Ref]; drifted && e.Type == live.Touched {
		e.Type = live.Changed // it may be as it was
	}
	switch {
	case e.Type == live.Touched:
		r.reportTouched(m, e)
		return
	case e.Type == live.Foreign && !e.Exclusive && !m.excludes(e.Ref.GroupKind()):
		m.reportStranger(e)
	default:
		m.report(e)
	}
	r.enqueue(e.Owner)
}

// reportTouched takes the news that something happened to an object, which
// gather for a while.
func (r *Reconciler) reportTouched(m *memory, e live.Event) {
	if !r.Engine.Judge.NeedsObject(e.Ref.GroupKind()) && !m.mentions(e.Ref) {
		return
	}
	m.report(e)
	if q := r.queue.Load(); q != nil {
		(*q).AddAfter(request(e.Owner), debounce)
	}
}

func targetOf(ref mizzen.Ref, version string) live.Target {
	return live.Target{
		Kind:      schema.GroupVersionKind{Group: ref.Group, Version: version, Kind: ref.Kind},
		Namespace: ref.Namespace, Name: ref.Name,
	}
}

// news sees to what the watches reported while nothing else changed.
func (x *run) news(ctx context.Context) *result {
	drifted, touched := x.m.takeNews()
	if x.strangers(touched) {
		// Nothing is to be restored, but something to be said.
		x.giveBack(drifted)
		x.m.touch(touched)
		return nil
	}
	switch {
	case len(drifted) > 0 && !enabled(x.app.Spec.Sync.SelfHeal):
		x.m.touch(touched)
		return x.watchDrift(ctx, drifted)
	case len(drifted) > 0:
		x.m.touch(touched)
		return x.heal(ctx, drifted)
	case len(touched) > 0:
		return x.judge(ctx, touched)
	case x.fightEnded():
		r := x.state()
		return &r
	}
	return &result{silent: true}
}

// fightEnded tells that the status still tells of a fight that is over.
func (x *run) fightEnded() bool {
	text, _ := x.fighting()
	return text == "" && meta.IsStatusConditionTrue(x.app.Status.Conditions, v1alpha1.ConditionFighting)
}

func enabled(b *bool) bool { return b == nil || *b }

// heal restores what drifted, from the revision that is synced.
func (x *run) heal(ctx context.Context, drifted map[mizzen.Ref]live.Event) *result {
	ready, wait := x.rounds(drifted)
	if len(ready) == 0 {
		return &result{silent: true, after: wait}
	}
	release, err := x.busy(ctx)
	if err != nil {
		return &result{silent: true}
	}
	defer release()
	inventory, err := x.inspect(ctx, maps.Keys(ready))
	if err == nil {
		x.outcome, err = x.Engine.Sync(ctx, x.planned)
	}
	if err != nil {
		x.giveBack(ready)
		return x.failedAside(err)
	}
	x.tell(ctx, ready)
	return x.healed(ctx, inventory, wait)
}

// inspect plans what restores the suspects, from the revision that is synced.
func (x *run) inspect(ctx context.Context, suspects iter.Seq[mizzen.Ref]) (engine.Inventory, error) {
	if x.m.settled().behind() && x.app.Status.Revision != "" {
		synced, err := x.Sources.Snapshot(ctx, x.repository(), x.app.Status.Revision)
		if err != nil {
			return nil, &engine.StageError{Stage: engine.StageRender, Err: err}
		}
		x.snapshot = synced
	}
	inventory, err := ReadInventory(ctx, x.Uncached, x.app)
	if err != nil {
		return nil, &engine.StageError{Stage: engine.StageRead, Err: err}
	}
	t := x.target(inventory)
	t.Suspects, t.Only = map[mizzen.Ref]bool{}, true
	for ref := range suspects {
		t.Suspects[ref] = true
	}
	x.letGoBefore = x.letGo.Load()
	x.planned, err = x.Engine.Plan(ctx, t)
	return inventory, err
}

// failedAside is failed for what is done beside a commit that waits or cannot
// be synced: the status goes on to say why that is so.
func (x *run) failedAside(err error) *result {
	if !x.m.settled().behind() || mizzen.KindOf(err) == mizzen.Unreachable {
		return x.failed(err)
	}
	x.complain(v1alpha1.ReasonApplyFailed, err)
	return &result{silent: true, after: x.backoff()}
}

// putBack sees to it that news are not lost because the evaluation that took
// them came to nothing: even if Git cannot be synced now, what runs is kept as
// it is, and judged. Without a settled evaluation, the next one will look at
// everything anyway.
func (x *run) putBack() {
	if len(x.drifted)+len(x.touched) == 0 {
		return
	}
	x.giveBack(x.drifted)
	x.m.touch(x.touched)
	if x.m.settled().done {
		x.enqueue(x.name)
	}
}

// giveBack keeps events for the next try.
func (x *run) giveBack(events map[mizzen.Ref]live.Event) {
	for _, e := range events {
		x.m.report(e)
	}
}

// healed writes status only if there is something to write: a restored object
// is as it was, so its entry usually is too.
func (x *run) healed(ctx context.Context, before engine.Inventory, wait time.Duration) *result {
	touched := map[mizzen.Ref]struct{}{}
	changed := len(before) != len(x.outcome.Inventory)
	for ref, e := range x.outcome.Inventory {
		changed = changed || before[ref] != e
	}
	for _, c := range x.outcome.Written {
		touched[c.Ref] = struct{}{}
	}
	if changed {
		if err := writeInventory(ctx, x.Client, x.app, x.outcome.Inventory); err != nil {
			return x.fail(v1alpha1.ReasonApplyFailed, err)
		}
	}
	r := x.judge(ctx, x.withTouched(touched))
	if wait > 0 {
		r.after = wait
	}
	return r
}

// withTouched adds what else is to be judged.
func (x *run) withTouched(refs map[mizzen.Ref]struct{}) map[mizzen.Ref]struct{} {
	maps.Copy(refs, x.m.takeTouched())
	return refs
}

// rounds sorts out the objects that somebody keeps undoing: they wait, longer
// each time. wait is when the first of them may be tried again.
func (x *run) rounds(drifted map[mizzen.Ref]live.Event) (ready map[mizzen.Ref]live.Event, wait time.Duration) {
	ready = map[mizzen.Ref]live.Event{}
	for ref, e := range drifted {
		f := x.m.fights[ref]
		if f == nil {
			f = &fight{}
			if x.m.fights == nil {
				x.m.fights = map[mizzen.Ref]*fight{}
			}
			x.m.fights[ref] = f
		}
		if left := f.last.Add(f.pause()).Sub(x.now); f.rounds >= fightRounds && left > 0 {
			x.m.report(e)
			if wait == 0 || left < wait {
				wait = left
			}
			continue
		}
		manager := "somebody"
		if len(e.Managers) > 0 {
			manager = strings.Join(e.Managers, ", ")
		}
		f.round(manager, x.now)
		ready[ref] = e
	}
	return ready, wait
}

// fighting names the field managers that keep undoing what is restored, and
// says when the first of them may be forgotten.
func (x *run) fighting() (text string, over time.Duration) {
	var texts []string
	for ref, f := range x.m.fights {
		if x.now.After(f.over()) {
			delete(x.m.fights, ref)
			continue
		}
		if f.rounds < fightRounds {
			continue
		}
		texts = append(texts, fmt.Sprintf("%s keeps changing %s; take the field out of Git or stop it", f.manager, ref))
		if left := f.over().Sub(x.now) + time.Millisecond; over == 0 || left < over {
			over = left
		}
	}
	slices.Sort(texts)
	return strings.Join(texts, "; "), over
}

// tell makes an Event and a line of every restored object, and counts it.
func (x *run) tell(ctx context.Context, events map[mizzen.Ref]live.Event) {
	for _, c := range x.outcome.Written {
		e := events[c.Ref]
		x.Observer.Metrics.Restored(x.Clock.Since(x.now))
		by := ""
		if len(e.Managers) > 0 {
			by = "; changed by " + strings.Join(e.Managers, ", ")
		}
		x.Recorder.Eventf(x.app, about(c), corev1.EventTypeNormal, "Restored", "Heal", "%s", clip(c.String()+by, maxMessage))
		x.Log.InfoContext(ctx, "restored", "application", x.name.String(), "object", c.Ref.String(), "managers", strings.Join(e.Managers, ", "))
	}
}

// RepositoryChanged wakes the Applications of a Repository that its new
// content touches.
func (r *Reconciler) RepositoryChanged(ctx context.Context, repository mizzen.Name) {
	for _, app := range r.list(ctx, repository.Namespace, byRepository, repository.Name) {
		name := mizzen.Name{Namespace: app.Namespace, Name: app.Name}
		m := r.memories.of(name)
		snapshot, err := r.Sources.Snapshot(ctx, repository, app.Spec.Source.Revision)
		switch {
		case m.isStarved():
			r.enqueue(name)
		case err == nil && app.Spec.Hold != nil && m.settled().done:
			// It stays where it is, whatever Git says.
		case err == nil && !m.underWay() && m.untouched(snapshot):
			r.wakeDependents(ctx, name)
		case app.Spec.Hold != nil:
			r.enqueue(name)
		default:
			m.supersede(snapshot)
			r.enqueue(name)
		}
	}
}

// Reachable wakes the Applications of a destination that went away or came
// back.
func (r *Reconciler) Reachable(ctx context.Context, cluster mizzen.Name) {
	for _, app := range r.list(ctx, cluster.Namespace, byCluster, cluster.Name) {
		name := mizzen.Name{Namespace: app.Namespace, Name: app.Name}
		r.memories.of(name).unsettle()
		r.enqueue(name)
	}
}

// KindsChanged wakes the Applications that left objects out because the
// cluster did not know their kind.
func (r *Reconciler) KindsChanged() {
	for name, m := range r.memories.snapshot() {
		m.mu.Lock()
		skipped := m.skipped > 0
		if skipped {
			m.evaluation.done = false
		}
		m.mu.Unlock()
		if skipped {
			r.enqueue(name)
		}
	}
}
