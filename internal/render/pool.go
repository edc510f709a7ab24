package render

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/render/wire"
	"mizzen.dev/mizzen/internal/sandbox"
)

// WorkerCommand is the hidden first argument by which the binary becomes a
// worker: main must call worker.Main when it sees it.
const WorkerCommand = "render-worker"

// DefaultTimeout is the wall clock for one rendering where nothing else is said.
const DefaultTimeout = time.Minute

// PoolConfig says how to run workers. The zero value of each field means the
// default.
type PoolConfig struct {
	// Workers is how many renderings run at the same time; GOMAXPROCS and one.
	// One namespace, as Options.Scope tells it, never has the last of them.
	Workers int
	// Command starts a worker; this executable with WorkerCommand.
	Command []string
	// Timeout is the wall clock for one rendering; DefaultTimeout.
	Timeout time.Duration
	// StartTimeout is the wall clock until a worker has confined itself; 30 s.
	StartTimeout time.Duration
	// IdleTimeout ends a worker that had nothing to do for so long; 30 s.
	IdleTimeout time.Duration
	// Jobs is how many renderings one worker does before it is replaced;
	// 5000.
	Jobs int
	// CPU is the processor time after which a worker is replaced; 5 min.
	CPU time.Duration
	// DataBytes bounds the memory of a worker (RLIMIT_DATA); 512 MiB. Below
	// zero there is no bound.
	DataBytes int64
	// OutputBytes and Objects bound one output; 64 MiB and 20,000.
	OutputBytes int64
	Objects     int
	// AllowUnsandboxed lets workers serve although the system lacks what the
	// sandbox needs. What is missing is in Pool.Sandbox.
	AllowUnsandboxed bool
}

func (c PoolConfig) withDefaults() (PoolConfig, error) {
	c.Workers = cmp.Or(c.Workers, runtime.GOMAXPROCS(0)+1)
	c.Timeout = cmp.Or(c.Timeout, DefaultTimeout)
	c.StartTimeout = cmp.Or(c.StartTimeout, 30*time.Second)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, 30*time.Second)
	c.Jobs = cmp.Or(c.Jobs, 5000)
	c.CPU = cmp.Or(c.CPU, 5*time.Minute)
	c.DataBytes = cmp.Or(c.DataBytes, 512<<20)
	c.OutputBytes = cmp.Or(c.OutputBytes, 64<<20)
	c.Objects = cmp.Or(c.Objects, 20_000)
	if len(c.Command) > 0 {
		return c, nil
	}
	if len(os.Args) > 1 && os.Args[1] == WorkerCommand {
		// Without this, a test binary that lacks the call would start itself
		// for ever.
		return c, errors.New("a render worker starts no workers; main, or TestMain, must call worker.Main")
	}
	self, err := os.Executable()
	if err != nil {
		return c, fmt.Errorf("find the binary to start render workers from: %w", err)
	}
	c.Command = []string{self, WorkerCommand}
	return c, nil
}

func (c PoolConfig) setup() wire.Setup {
	return wire.Setup{
		DataBytes: uint64(max(0, c.DataBytes)),
		// The kernel's bound is for a worker that lies about its use: it lies
		// above what an honest one reaches before it is replaced.
		CPU:         c.CPU + 2*c.Timeout,
		Unsandboxed: c.AllowUnsandboxed,
		OutputBytes: c.OutputBytes,
		Objects:     c.Objects,
	}
}

// Pool renders in worker processes, which are started when they are needed
// and used again. It may be used by many goroutines.
type Pool struct {
	config PoolConfig
	slots  *Slots
	closed context.Context
	close  context.CancelFunc

	mu      sync.Mutex
	idle    []*process // the last one was used last
	report  *sandbox.Report
	running sync.WaitGroup // of processes and Render calls
}

// NewPool returns a Pool without any worker. Close it.
func NewPool(config PoolConfig) (*Pool, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	p := &Pool{config: config, slots: NewSlots(max(1, config.Workers-1), min(1, config.Workers-1))}
	p.closed, p.close = context.WithCancel(context.Background())
	return p, nil
}

// ErrClosed is the cause of errors after Pool.Close.
var ErrClosed = errors.New("the render pool is closed")

// Close ends all workers, renderings under way included, and returns when
// nothing of them is left.
func (p *Pool) Close() {
	p.mu.Lock()
	p.close()
	p.mu.Unlock()
	p.Rest()
	p.running.Wait()
}

// Rest ends the workers that have nothing to do; the next job starts one.
func (p *Pool) Rest() {
	p.mu.Lock()
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, w := range idle {
		p.discard(w)
	}
}

// Sandbox returns what protects the workers: as the last one reported, or what
// the system offers if none was started yet.
func (p *Pool) Sandbox() sandbox.Report {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.report != nil {
		return *p.report
	}
	return sandbox.Supported()
}

// rendering is what one run of a worker yields.
type rendering struct {
	// raw is the encoded output, out the decoded one; both nil on error.
	raw []byte
	out *Output
	// facts are what the rendering depends on, an error's included. They are
	// nil if the error does not depend on the files.
	facts []Fact
	// reported is whether an error is the renderer's own.
	reported bool
}

// Render renders without looking for a kept result. The error is a
// *mizzen.Error that names the path: Invalid, Refused and NotFound come from
// the files and the Options; Timeout and TooLarge mean that a bound was
// exceeded; Internal is a crash of the worker. It is the context's error if ctx
// ended first.
func (p *Pool) Render(ctx context.Context, s mizzen.Snapshot, o Options) (*Result, error) {
	r, err := p.render(ctx, s, o)
	if err != nil {
		return nil, err
	}
	return &Result{Output: r.out, Key: newKey(o, r)}, nil
}

func (p *Pool) render(ctx context.Context, s mizzen.Snapshot, o Options) (*rendering, error) {
	if !fs.ValidPath(o.Path) {
		return &rendering{}, &mizzen.Error{
			Kind: mizzen.Invalid, Object: o.Path, Err: errors.New("not a path within the repository"),
			Remedy: "write spec.source.path relative to the root of the repository, without ..",
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(p.closed, func() { cancel(ErrClosed) })()
	leave, err := p.enter(ctx, o)
	if err != nil {
		return &rendering{}, err
	}
	defer leave()

	for {
		lib := newLibrary(s)
		raw, stale, err := p.attempt(ctx, lib, o)
		if stale {
			continue
		}
		r := &rendering{raw: raw}
		if err == nil {
			r.out, err = DecodeOutput(raw, p.config.Objects)
		}
		if ctx.Err() != nil && err != nil {
			return r, context.Cause(ctx)
		}
		var reported *failure
		if errors.As(err, &reported) {
			r.reported, err = true, reported.err
		}
		r.facts, err = conclude(lib, o, err)
		return r, err
	}
}

// conclude adds the facts to the outcome of a rendering.
func conclude(lib *library, o Options, err error) ([]Fact, error) {
	if err != nil {
		err = named(err, o.Path)
	}
	facts, broken := lib.journal.compact(lib.snapshot)
	if broken != nil {
		return nil, cmp.Or(err, named(broken, o.Path))
	}
	return facts, err
}

// enter waits for a free slot.
func (p *Pool) enter(ctx context.Context, o Options) (leave func(), err error) {
	p.mu.Lock()
	if p.closed.Err() != nil {
		p.mu.Unlock()
		return nil, ErrClosed
	}
	p.running.Add(1)
	p.mu.Unlock()
	namespace, _, _ := strings.Cut(o.Scope, "/")
	free, err := p.slots.Enter(ctx, namespace)
	if err != nil {
		p.running.Done()
		return nil, err
	}
	return func() { free(); p.running.Done() }, nil
}

// attempt runs one job on an idle or a new worker. stale is that an idle
// worker had died of something else, so that the job deserves a new one.
func (p *Pool) attempt(ctx context.Context, lib *library, o Options) (raw []byte, stale bool, err error) {
	options, err := json.Marshal(o)
	if err != nil {
		return nil, false, invalidOptions(err)
	}
	job, err := json.Marshal(wire.Assignment{Options: options, Timeout: p.config.Timeout})
	if err != nil {
		return nil, false, err
	}
	w, used, err := p.take(ctx)
	if err != nil {
		return nil, false, err
	}
	// A little later than the worker's own deadline, so that a renderer that
	// minds its context can say where it was.
	deadline, cancel := context.WithTimeout(ctx, p.config.Timeout+p.config.Timeout/10)
	defer cancel()
	stop := context.AfterFunc(deadline, w.kill)
	raw, heard, err := w.run(job, lib, p.config.OutputBytes)
	alive := stop()
	var reported *failure
	switch {
	case alive && (err == nil || errors.As(err, &reported)):
		p.put(w)
		return raw, false, err
	case err == nil:
		p.discard(w)
		return raw, false, nil
	}
	p.discard(w)
	if alive && used && !heard {
		return nil, true, nil
	}
	return nil, false, p.config.explain(w, err, deadline.Err() != nil)
}

// take returns an idle worker, or a new one that has confined itself. used is
// whether it had a job before.
func (p *Pool) take(ctx context.Context) (w *process, used bool, err error) {
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		w = p.idle[n-1]
		p.idle = p.idle[:n-1]
		w.idle.Stop()
	}
	p.mu.Unlock()
	if w != nil {
		return w, true, nil
	}
	w, err = startProcess(p.config.Command, p.config.setup())
	if err != nil {
		return nil, false, cannotStart(err, "")
	}
	p.running.Add(1)
	ctx, cancel := context.WithTimeout(ctx, p.config.StartTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, w.kill)
	err = w.greet()
	stop()
	if err != nil {
		p.discard(w)
		return nil, false, cannotStart(err, w.stderr.String())
	}
	p.mu.Lock()
	p.report = &w.report
	p.mu.Unlock()
	if !w.report.Confined() && !p.config.AllowUnsandboxed {
		p.discard(w)
		return nil, false, unconfined(w.report)
	}
	return w, false, nil
}

// put keeps a worker for the next job, unless it is worn or tainted.
func (p *Pool) put(w *process) {
	c := p.config
	worn := w.jobs >= c.Jobs || w.usage.CPU >= c.CPU || c.DataBytes > 0 && w.usage.MemoryBytes > uint64(c.DataBytes/2)
	if worn || w.usage.Tainted {
		p.discard(w)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed.Err() != nil {
		go p.discard(w)
		return
	}
	if w.idle == nil {
		w.idle = time.AfterFunc(c.IdleTimeout, func() { p.retire(w) })
	} else {
		w.idle.Reset(c.IdleTimeout)
	}
	p.idle = append(p.idle, w)
}

// retire ends a worker that is idle for too long.
func (p *Pool) retire(w *process) {
	p.mu.Lock()
	i := slices.Index(p.idle, w)
	if i >= 0 {
		p.idle = slices.Delete(p.idle, i, i+1)
	}
	p.mu.Unlock()
	if i >= 0 {
		p.discard(w)
	}
}

// discard ends a worker and waits until nothing of it is left.
func (p *Pool) discard(w *process) {
	if w.idle != nil {
		w.idle.Stop()
	}
	w.end()
	p.running.Done()
}
