package live

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"mizzen.dev/mizzen"
)

const (
	// firstRetry and lastRetry bound how long a watch that failed, although
	// the API server answers, rests before it is tried again.
	firstRetry = 100 * time.Millisecond
	lastRetry  = time.Minute
	// healthyFor is how long a watch must last to be retried at once.
	healthyFor = 10 * time.Second
)

// kindWatch watches the metadata of one kind. It is the store of client-go's
// Reflector, which knows how to list in a stream or in pages, to resume, and
// to start afresh after 410 Gone.
type kindWatch struct {
	w    *Watcher
	gk   schema.GroupKind
	ctx  context.Context
	stop context.CancelFunc
	// kick ends a rest before a retry.
	kick chan struct{}
	// store takes what is selected by the label selector.
	store    cache.ReflectorStore
	selector string

	// The rest is guarded by Watcher.mu.
	resource Resource
	entries  map[key]*entry
	synced   bool
	// latest is the highest resource version seen.
	latest uint64
	// err is why the watch fails; nil while it is under way or well.
	err error
	// told is the error that the Handler knows of.
	told error
	// settled is closed and replaced whenever synced or err was set.
	settled chan struct{}
}

func newKindWatch(w *Watcher, r Resource) *kindWatch {
	k := &kindWatch{
		w: w, gk: r.Kind.GroupKind(), resource: r,
		kick: make(chan struct{}, 1), settled: make(chan struct{}), entries: make(map[key]*entry),
	}
	k.ctx, k.stop = context.WithCancel(w.ctx)
	k.store, k.selector = store{k}, labels.Set{mizzen.LabelManaged: w.c.installation}.String()
	return k
}

// ready returns a function that waits for the first list. The error is that of
// an attempt which begins after the call of ready.
func (k *kindWatch) ready() func(context.Context) error {
	k.w.mu.Lock()
	failing := k.err != nil
	k.err = nil
	k.w.mu.Unlock()
	if failing {
		k.retryNow()
	}
	return func(ctx context.Context) error {
		for {
			k.w.mu.Lock()
			synced, err, settled := k.synced, k.err, k.settled
			k.w.mu.Unlock()
			if err != nil || synced {
				return err
			}
			select {
			case <-settled:
			case <-ctx.Done():
				return k.w.c.apiError(k.gk.String(), ctx.Err())
			case <-k.ctx.Done():
				return k.w.c.apiError(k.gk.String(), k.ctx.Err())
			}
		}
	}
}

func (k *kindWatch) retryNow() {
	select {
	case k.kick <- struct{}{}:
	default:
	}
}

// run lists and watches until the context ends.
func (k *kindWatch) run() {
	var retries retries
	lw := k.listWatch()
	for k.ctx.Err() == nil {
		began := k.w.c.clock.Now()
		err := k.attempt(lw)
		if k.ctx.Err() != nil {
			return
		}
		lasted := k.w.c.clock.Since(began) > healthyFor
		if lasted {
			retries = 0
		}
		k.failed(err)
		switch kind := mizzen.KindOf(err); {
		case kind == mizzen.NotFound:
			lw = k.relocate(lw)
		// The client takes a connection that is closed at once, as a proxy does
		// that finds nobody behind it, for a stream that ended.
		case (isOutage(kind) || err == nil && !lasted) && k.w.outage.wait(k.ctx, k.w, err):
			retries = 0
			continue
		}
		k.rest(retries.next(k.w.jitter))
	}
}

// listWatch returns a Reflector of the resource that keeps, as long as it
// lives, the version it has seen.
func (k *kindWatch) listWatch() *listWatch {
	k.w.mu.Lock()
	defer k.w.mu.Unlock()
	lw := &listWatch{k: k, gvr: k.resource.GVR()}
	lw.api = k.w.c.metadata.Resource(lw.gvr)
	silent := logr.Discard()
	lw.reflector = cache.NewReflectorWithOptions(lw, &metav1.PartialObjectMetadata{}, k.store, cache.ReflectorOptions{
		Name: k.gk.String(), TypeDescription: k.gk.String(), Logger: &silent,
	})
	return lw
}

// attempt lists and watches until the stream breaks. It logs nothing: what is
// worth saying goes to the Handler.
func (k *kindWatch) attempt(lw *listWatch) error {
	lw.remember(nil)
	err := lw.reflector.ListAndWatchWithContext(klog.NewContext(k.ctx, logr.Discard()))
	if last := lw.err.Load(); *last != nil {
		// The Reflector swallows some errors and wraps others.
		err = *last
	}
	return k.w.c.apiError("watch of "+k.gk.String(), err)
}

// relocate deals with a resource that does not exist any more: either the kind
// is served in another version now, or it is gone with all its objects.
func (k *kindWatch) relocate(lw *listWatch) *listWatch {
	k.w.c.Invalidate(k.gk.Group)
	other, err := k.w.c.Preferred(k.ctx, k.gk)
	switch {
	case err == nil && other.GVR() != lw.gvr:
		k.w.mu.Lock()
		k.resource = other
		k.w.mu.Unlock()
		k.retryNow()
		return k.listWatch()
	case mizzen.KindOf(err) == mizzen.NotFound:
		k.empty()
	}
	return lw
}

// failed records and tells why the watch does not work.
func (k *kindWatch) failed(err error) {
	if err == nil {
		return // the stream ended, as streams do
	}
	kind := mizzen.KindOf(err)
	k.w.mu.Lock()
	news := mizzen.KindOf(k.told) != kind && !isOutage(kind)
	if news {
		k.told = err
	}
	k.settle(err)
	k.w.mu.Unlock()
	if news {
		k.w.handler.Watching(k.gk, err)
	}
}

// settle records an outcome. The lock is held.
func (k *kindWatch) settle(err error) {
	k.err = err
	close(k.settled)
	k.settled = make(chan struct{})
}

func (k *kindWatch) rest(d time.Duration) {
	timer := k.w.c.clock.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C():
	case <-k.kick:
	case <-k.ctx.Done():
	}
}

// retries counts those in a row.
type retries int

// next counts one more and returns how long to rest before: none the first
// time, then twice as long each time, half of it at random.
func (r *retries) next(jitter func(time.Duration) time.Duration) time.Duration {
	n := *r
	*r = min(n+1, 16)
	if n == 0 {
		return 0
	}
	d := min(lastRetry, firstRetry<<n)
	return d/2 + jitter(d/2)
}

// isOutage tells whether an error may mean that the API server cannot be
// reached at all, which is for the probe to find out.
func isOutage(kind mizzen.Kind) bool {
	return kind == mizzen.Unreachable || kind == mizzen.Timeout
}

// listWatch lists and watches what is selected, and keeps the last error.
type listWatch struct {
	k         *kindWatch
	gvr       schema.GroupVersionResource
	api       metadata.Getter
	reflector *cache.Reflector
	// err is atomic, since a Reflector that is stopped leaves a list behind.
	err atomic.Pointer[error]
}

func (l *listWatch) remember(err error) { l.err.Store(&err) }

// ListWithContext lists a page.
func (l *listWatch) ListWithContext(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
	o.LabelSelector = l.k.selector
	ctx, cancel := bounded(ctx)
	defer cancel()
	list, err := l.api.List(ctx, o)
	l.remember(err)
	if err != nil {
		return nil, hide(err)
	}
	return list, nil
}

// WatchWithContext opens a watch, which may begin with the list.
func (l *listWatch) WatchWithContext(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	o.LabelSelector = l.k.selector
	w, err := l.api.Watch(ctx, o)
	l.remember(err)
	if isGone(err) && o.ResourceVersion == "" {
		// The Reflector would ask again at once, and for ever, although nothing
		// is older than "now".
		return nil, opaque{err}
	}
	if err != nil {
		return nil, hide(err)
	}
	return w, nil
}

// List and Watch complete cache.ListerWatcher.
func (l *listWatch) List(o metav1.ListOptions) (runtime.Object, error) {
	return l.ListWithContext(l.k.ctx, o)
}

// Watch is WatchWithContext with the context of the kind.
func (l *listWatch) Watch(o metav1.ListOptions) (watch.Interface, error) {
	return l.WatchWithContext(l.k.ctx, o)
}

// hide keeps the Reflector from retrying by itself when the server cannot be
// reached: one probe for all kinds does that better than each of them alone.
func hide(err error) error {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return err
	}
	return opaque{err}
}

type opaque struct{ error }
