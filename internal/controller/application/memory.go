package application

import (
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/health"
	"mizzen.dev/mizzen/internal/live"
	"mizzen.dev/mizzen/internal/render"
)

// memory is what the loop knows of an Application beyond its status. All of
// it can be lost: it costs one rendering and a list of metadata to get back.
// The fields above mu belong to the one reconcile that runs for the
// Application; those below are shared with watches and other loops.
type memory struct {
	unhealthy map[mizzen.Ref]health.Judgement
	// places are the files and lines of objects that are judged.
	places map[mizzen.Ref]string
	fights map[mizzen.Ref]*fight
	// approved is the digest of the plan that somebody asked to carry out.
	approved string
	// failures counts those in a row; lastFailure is the last in words.
	failures    int
	lastFailure string
	// careful: the last plan was overtaken by the cluster.
	careful bool
	// blind says which kind cannot be watched, and why; "" if all can.
	blind string
	// said is the trouble that was logged last; "" if there is none.
	said string
	// guarded is the last generation of the spec that had a gate; 0 if none had,
	// or if somebody took it away.
	guarded int64

	mu sync.Mutex
	// evaluation says what the last complete evaluation was about. While it
	// still holds, there is nothing to plan.
	evaluation settled
	// written is the last status that was written, until the cache has it.
	written        *v1alpha1.ApplicationStatus
	writtenVersion string
	// cached is the version of the last event of the cache.
	cached string
	// drifted and touched are what watches reported since the last reconcile.
	drifted map[mizzen.Ref]live.Event
	touched map[mizzen.Ref]struct{}
	// strangers are the events about fields that others added and that stay,
	// mentioned the objects whose Findings are about such fields.
	strangers map[mizzen.Ref]live.Event
	mentioned map[mizzen.Ref]bool
	// drift is what left the synced state and is not to be restored. It is
	// replaced as a whole, never changed.
	drift map[mizzen.Ref]mizzen.Change
	// wanted are objects that belong to others and are waited for.
	wanted map[mizzen.Ref]bool
	// running: a reconcile is under way.
	running bool
	// cancel ends a sync that waits, when another input supersedes that of it,
	// which syncing is.
	cancel  func(error)
	syncing settled
	// awaiting: the Application waits for one that it depends on.
	awaiting bool
	// recheck: what holds the Application at its gate may have changed.
	recheck bool
	// starved: there was nothing fetched to sync from, so that news and wishes
	// wait for a fetch, even for one that brings nothing new.
	starved bool
	// pinned: the commits of the history are kept in this process's name.
	pinned bool
	// seen: the Application was looked at since this process leads.
	seen bool
	// exclusive are the kinds that the Application itself wants for itself.
	exclusive []schema.GroupKind
	// skipped counts objects of kinds that the cluster did not know.
	skipped int
}

// settled is the input of a complete evaluation.
type settled struct {
	// done is false until there is one, and after anything happened that the
	// other fields do not show.
	done       bool
	generation int64
	commit     string
	key        render.Key
	// wish is the value of the annotation that asks for a reconcile.
	wish string
	// failed tells that the evaluation ended in an error that only another
	// input can mend.
	failed bool
	// waits tells that the plan was made, and waits for somebody to ask for it.
	waits bool
	// gated tells that it waits at the gate: what holds it there may be mended
	// by any commit, and by an Approval.
	gated bool
	// until is when the evaluation is to be repeated all the same; zero is
	// never.
	until time.Time
}

// behind tells that what is synced is not what was evaluated: what runs is
// then kept as the last synced revision says.
func (s settled) behind() bool { return s.done && (s.failed || s.waits) }

// expired tells that the evaluation is to be repeated.
func (s settled) expired(now time.Time) bool { return !s.until.IsZero() && !now.Before(s.until) }

func (m *memory) settled() settled {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.evaluation
}

func (m *memory) settle(s settled) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.evaluation = s
}

// wait notes that the plan of the evaluation waits to be asked for.
func (m *memory) wait() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.evaluation.waits = true
}

// hold notes that the revision of the evaluation waits at the gate.
func (m *memory) hold() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.evaluation.waits, m.evaluation.gated = true, true
}

// expire makes a reconcile after a time evaluate everything.
func (m *memory) expire(at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.evaluation.until = at
}

// unsettle makes the next reconcile evaluate everything.
func (m *memory) unsettle() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.evaluation.done = false
}

// untouched tells whether a commit leaves the Application as it is evaluated,
// and if so, counts it as evaluated at that commit too.
func (m *memory) untouched(s mizzen.Snapshot) bool {
	e := m.settled()
	commit := s.Commit().ID
	if !e.done {
		return false
	}
	if e.commit == commit {
		return true
	}
	if e.failed || e.gated || !e.key.Holds(s) {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.evaluation.done && m.evaluation.commit == e.commit {
		m.evaluation.commit = commit
	}
	return true
}

// evaluated tells whether the Application was evaluated at a commit, with
// success.
func (m *memory) evaluated(commit string) bool {
	e := m.settled()
	return e.done && !e.failed && e.commit == commit
}

// unpinned tells once that the commits of the history have to be kept: who kept
// them before this process is not known.
func (m *memory) unpinned() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	pinned := m.pinned
	m.pinned = true
	return !pinned
}

// first tells once that the Application was looked at.
func (m *memory) first() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	seen := m.seen
	m.seen = true
	return !seen
}

// learn takes over what watches need to know of the spec, and that it has a
// gate that holds. What was reviewed for one had it.
func (m *memory) learn(app *v1alpha1.Application) {
	lost := m.guarded == 0 && guardedBy(app.Status.Review) && app.Status.ObservedGeneration == app.Generation
	if app.Spec.Sync.Gate == v1alpha1.GatePolicy || lost {
		m.guarded = app.Generation
	}
	var kinds []schema.GroupKind
	for _, kind := range app.Spec.Sync.Exclusive {
		kinds = append(kinds, live.ParseGroupKind(kind))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.exclusive = kinds
}

// guardedBy tells whether a review was made for a gate of the spec that holds.
func guardedBy(r *v1alpha1.ReviewStatus) bool {
	return r != nil && r.Gate != v1alpha1.GateReport && !r.Default
}

func (m *memory) excludes(kind schema.GroupKind) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Contains(m.exclusive, kind)
}

func (m *memory) awaits() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.awaiting
}

func (m *memory) setAwaiting(on bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.awaiting = on
}

func (m *memory) rechecks() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.recheck
}

func (m *memory) setRecheck(on bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.recheck = on
}

func (m *memory) isStarved() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.starved
}

func (m *memory) setStarved(on bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.starved = on
}

// driftNow returns what left the synced state and is not to be restored.
func (m *memory) driftNow() map[mizzen.Ref]mizzen.Change {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.drift
}

func (m *memory) setDrift(drift map[mizzen.Ref]mizzen.Change) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drift = drift
}

// takeNews returns what the watches reported, and forgets it.
func (m *memory) takeNews() (drifted map[mizzen.Ref]live.Event, touched map[mizzen.Ref]struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	drifted, touched = m.drifted, m.touched
	m.drifted, m.touched = nil, nil
	return drifted, touched
}

// takeTouched returns what is to be judged, and forgets it.
func (m *memory) takeTouched() map[mizzen.Ref]struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	touched := m.touched
	m.touched = nil
	return touched
}

// touch notes objects that are to be judged.
func (m *memory) touch(refs map[mizzen.Ref]struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.touched == nil {
		m.touched = make(map[mizzen.Ref]struct{}, len(refs))
	}
	maps.Copy(m.touched, refs)
}

// report notes an event of a watch.
func (m *memory) report(e live.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e.Type == live.Touched {
		if m.touched == nil {
			m.touched = map[mizzen.Ref]struct{}{}
		}
		m.touched[e.Ref] = struct{}{}
		return
	}
	if m.drifted == nil {
		m.drifted = map[mizzen.Ref]live.Event{}
	}
	m.drifted[e.Ref] = e
}

// memories holds the memory of every Application.
type memories struct {
	mu  sync.Mutex
	all map[mizzen.Name]*memory
}

func (ms *memories) of(name mizzen.Name) *memory {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if ms.all == nil {
		ms.all = map[mizzen.Name]*memory{}
	}
	m := ms.all[name]
	if m == nil {
		m = &memory{}
		ms.all[name] = m
	}
	return m
}

func (ms *memories) forget(name mizzen.Name) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	delete(ms.all, name)
}

func (ms *memories) snapshot() map[mizzen.Name]*memory {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	return maps.Clone(ms.all)
}

// fight counts how often a field manager undid what was restored.
type fight struct {
	manager string
	rounds  int
	last    time.Time
}

const (
	// fightWindow is how close two restorations of one object must follow each
	// other to count as a fight.
	fightWindow = time.Minute
	// fightRounds is how many make one.
	fightRounds = 5
	// fightPause and fightPauseMost bound the pause before the next round.
	fightPause     = time.Second
	fightPauseMost = 5 * time.Minute
)

// round counts a restoration.
func (f *fight) round(manager string, now time.Time) {
	if now.After(f.over()) {
		f.rounds = 0
	}
	f.rounds++
	f.last, f.manager = now, manager
}

// over is when the fight counts as ended.
func (f *fight) over() time.Time { return f.last.Add(fightWindow + f.pause()) }

// pause is how long the next round must wait.
func (f *fight) pause() time.Duration {
	if f.rounds < fightRounds {
		return 0
	}
	return min(fightPause<<min(f.rounds-fightRounds, 16), fightPauseMost)
}
