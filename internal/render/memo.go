package render

import (
	"context"
	"sync"
	"time"

	"mizzen.dev/mizzen"
)

// MemoConfig says what a Memo works with.
type MemoConfig struct {
	// Pool renders; required.
	Pool *Pool
	// Cache keeps results; without one, every request is rendered.
	Cache *Cache
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Hooks are called as things happen.
	Hooks Hooks
}

// Hooks count what a Memo does. Any of them may be nil. They are called by
// many goroutines.
type Hooks struct {
	// Rendered is called after each run of a renderer, with its wall clock. The
	// Renderer is that of the Options if the run failed, so it may be "".
	Rendered func(r Renderer, took time.Duration, err error)
	// Kept is called for each request that a kept result answers.
	Kept func(r Renderer)
	// NotKept is called when a result could not be written; it will be
	// rendered again.
	NotKept func(err error)
}

// Memo renders what changed, and remembers the rest: a request is answered
// from an earlier result whose Key holds at the Snapshot. That is also how a
// template that is not a function of its inputs keeps its passwords: as long
// as nothing changes, it does not run again.
//
// Equal requests at the same time are rendered once. A rendering that fails
// because of the files (Invalid, Refused, NotFound), or exceeds a bound
// (Timeout, TooLarge), is remembered in memory for FailureMemory while its Key
// holds; other failures are not.
//
// It may be used by many goroutines.
type Memo struct {
	config   MemoConfig
	flights  flights
	failures failures
}

// FailureMemory is how long a Memo remembers that files cannot be rendered.
const FailureMemory = 10 * time.Minute

// NewMemo returns a Memo. Closing the Pool is the caller's.
func NewMemo(config MemoConfig) *Memo {
	if config.Now == nil {
		config.Now = time.Now
	}
	return &Memo{config: config, failures: failures{kept: map[string][]failed{}}}
}

// Render returns the objects for the Options at the Snapshot; see Pool.Render
// for the errors. The caller owns the Result.
func (m *Memo) Render(ctx context.Context, s mizzen.Snapshot, o Options) (*Result, error) {
	if l := m.known(s, o); l != nil {
		return m.deliver(l, false)
	}
	// A working tree has no commit, so that nothing is known to be equal.
	commit := s.Commit().ID
	if commit == "" {
		return m.deliver(m.run(ctx, s, o), false)
	}
	l, shared := m.flights.do(ctx, digest(commit, canonical(o), o.Scope), func(ctx context.Context) *landing {
		// An equal run may have ended after we looked.
		if l := m.known(s, o); l != nil {
			return l
		}
		return m.run(ctx, s, o)
	})
	return m.deliver(l, shared)
}

// Holding returns the Key of the kept result that Render would answer with,
// without reading it. It renders nothing. A result with the origins of fields
// also answers who asks for less.
func (m *Memo) Holding(s mizzen.Snapshot, o Options) (Key, bool) {
	if m.config.Cache == nil {
		return Key{}, false
	}
	key, ok := m.config.Cache.find(requestDigest(o), func(k Key) bool { return k.Matches(o) && k.Holds(s) })
	if !ok && !o.FieldOrigins {
		o.FieldOrigins = true
		return m.Holding(s, o)
	}
	return key, ok
}

// Lookup returns the kept result of a Key by its digest, whatever Git says by
// now. With it a drift is restored without rendering.
func (m *Memo) Lookup(digest string) (*Result, bool) {
	l, ok := m.lookup(digest)
	if !ok {
		return nil, false
	}
	return &Result{Output: l.rendering.out, Key: l.key, FromCache: true}, true
}

func (m *Memo) lookup(digest string) (*landing, bool) {
	if m.config.Cache == nil {
		return nil, false
	}
	key, raw, ok := m.config.Cache.get(digest)
	if !ok {
		return nil, false
	}
	out, err := DecodeOutput(raw, m.config.Pool.config.Objects)
	if err != nil {
		return nil, false // written under other bounds, or by another version
	}
	return &landing{rendering: &rendering{raw: raw, out: out}, key: *key, kept: true}, true
}

// known returns what an earlier run brought back, if that is the answer; else
// nil.
func (m *Memo) known(s mizzen.Snapshot, o Options) *landing {
	if key, ok := m.Holding(s, o); ok {
		if l, ok := m.lookup(key.Digest()); ok {
			return l
		}
	}
	if err := m.failures.recall(requestDigest(o), s, o, m.config.Now()); err != nil {
		return &landing{err: err}
	}
	return nil
}

// landing is what a run brings back, for everybody who waits for it.
type landing struct {
	rendering *rendering
	key       Key
	err       error
	// kept is whether it was kept from an earlier run.
	kept bool
}

// deliver returns what the caller then owns: who shares a run decodes anew.
func (m *Memo) deliver(l *landing, shared bool) (*Result, error) {
	if l.err != nil {
		return nil, l.err
	}
	r := &Result{Output: l.rendering.out, Key: l.key, FromCache: l.kept}
	if l.kept && m.config.Hooks.Kept != nil {
		m.config.Hooks.Kept(l.key.Renderer)
	}
	if !shared {
		return r, nil
	}
	var err error
	r.Output, err = DecodeOutput(l.rendering.raw, m.config.Pool.config.Objects)
	return r, err
}

// run renders, keeps what comes of it, and counts.
func (m *Memo) run(ctx context.Context, s mizzen.Snapshot, o Options) *landing {
	start := m.config.Now()
	r, err := m.config.Pool.render(ctx, s, o)
	end := m.config.Now()
	l := &landing{rendering: r, key: newKey(o, r), err: err}
	renderer := o.Renderer
	if err == nil {
		renderer = r.out.Renderer
		m.keep(l, o)
	} else if r.reported && blamesFiles(err) || outOfBounds(err) && len(r.facts) > 0 {
		m.failures.remember(requestDigest(o), failed{l.key, err, end})
	}
	if m.config.Hooks.Rendered != nil {
		m.config.Hooks.Rendered(renderer, end.Sub(start), err)
	}
	return l
}

func (m *Memo) keep(l *landing, o Options) {
	if m.config.Cache == nil {
		return
	}
	err := m.config.Cache.put(requestDigest(o), l.key, l.rendering.raw, l.rendering.out.Nondeterministic)
	if err != nil && m.config.Hooks.NotKept != nil {
		m.config.Hooks.NotKept(err)
	}
}

func blamesFiles(err error) bool {
	switch mizzen.KindOf(err) {
	case mizzen.Invalid, mizzen.Refused, mizzen.NotFound:
		return true
	}
	return false
}

func outOfBounds(err error) bool {
	kind := mizzen.KindOf(err)
	return kind == mizzen.Timeout || kind == mizzen.TooLarge
}

// failed is a rendering that failed because of the files.
type failed struct {
	key Key
	err error
	at  time.Time
}

// maxFailures bounds how many requests have failures remembered.
const maxFailures = 4096

// failures remembers the last failures of each request.
type failures struct {
	mu   sync.Mutex
	kept map[string][]failed
}

func (f *failures) remember(request string, x failed) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, known := f.kept[request]; !known && len(f.kept) >= maxFailures {
		clear(f.kept) // rare, and only costs renderings
	}
	list := append([]failed{x}, f.kept[request]...)
	f.kept[request] = list[:min(len(list), 2)]
}

func (f *failures) recall(request string, s mizzen.Snapshot, o Options, now time.Time) error {
	f.mu.Lock()
	list := f.kept[request]
	f.mu.Unlock()
	for _, x := range list {
		if now.Sub(x.at) < FailureMemory && x.key.Matches(o) && x.key.Holds(s) {
			return x.err
		}
	}
	return nil
}

// flights runs equal requests once. A run goes on as long as one of those who
// wait for it does.
type flights struct {
	mu      sync.Mutex
	flights map[string]*flight
}

type flight struct {
	waiting int
	cancel  context.CancelFunc
	done    chan struct{}
	landing *landing
}

// do returns what run brings back. shared is whether others get the same.
func (f *flights) do(ctx context.Context, id string, run func(context.Context) *landing) (l *landing, shared bool) {
	f.mu.Lock()
	x, flying := f.flights[id]
	if !flying {
		x = &flight{done: make(chan struct{})}
		var detached context.Context
		detached, x.cancel = context.WithCancel(context.WithoutCancel(ctx))
		if f.flights == nil {
			f.flights = map[string]*flight{}
		}
		f.flights[id] = x
		go func() {
			x.landing = run(detached)
			f.land(id, x)
		}()
	}
	x.waiting++
	f.mu.Unlock()
	select {
	case <-x.done:
		return x.landing, flying
	case <-ctx.Done():
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if x.waiting--; x.waiting == 0 {
		x.cancel()
		// Whoever comes now must not wait for a run that is being ended.
		if f.flights[id] == x {
			delete(f.flights, id)
		}
	}
	return &landing{err: context.Cause(ctx)}, false
}

func (f *flights) land(id string, x *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	x.cancel()
	if f.flights[id] == x {
		delete(f.flights, id)
	}
	close(x.done)
}
