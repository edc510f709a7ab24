package live

import (
	"context"
	"sync"
	"time"

	"mizzen.dev/mizzen"
)

const (
	firstProbe = 250 * time.Millisecond
	lastProbe  = 5 * time.Second
	// spread is the time over which watches start again after an outage.
	spread = 200 * time.Millisecond
)

// outage lets all watches of a cluster wait for it together: while it cannot be
// reached, one probe asks for all of them.
type outage struct {
	mu   sync.Mutex
	over chan struct{} // closed at the end of the present question; nil without
	real bool          // whether the last question found an outage
}

// wait returns when the cluster can be reached again or ctx ends. The cause is
// told, or if that is nil, what the probe finds. It returns
// true if there was an outage, false if only the connection had broken.
func (o *outage) wait(ctx context.Context, w *Watcher, cause error) bool {
	o.mu.Lock()
	if o.over == nil {
		o.over = make(chan struct{})
		w.running.Go(func() { o.probe(w, cause) })
	}
	over := o.over
	o.mu.Unlock()
	select {
	case <-over:
	case <-ctx.Done():
		return false
	}
	o.mu.Lock()
	outage := o.real
	o.mu.Unlock()
	if outage {
		timer := w.c.clock.NewTimer(w.jitter(spread))
		defer timer.Stop()
		select {
		case <-timer.C():
		case <-ctx.Done():
		}
	}
	return outage
}

// probe asks until the API server answers. Its first question is asked at
// once: a connection that broke is not yet an outage.
func (o *outage) probe(w *Watcher, cause error) {
	told := false
	for interval := firstProbe; ; interval = min(lastProbe, 2*interval) {
		err := w.c.Reachable(w.ctx)
		kind := mizzen.KindOf(err)
		if kind != mizzen.Unreachable && kind != mizzen.Timeout {
			break
		}
		if !told {
			told = true
			if cause == nil {
				cause = err
			}
			w.handler.Reachable(w.c.apiError("", cause))
		}
		timer := w.c.clock.NewTimer(interval/2 + w.jitter(interval/2))
		select {
		case <-timer.C():
		case <-w.ctx.Done():
			timer.Stop()
			return
		}
	}
	if w.ctx.Err() != nil {
		return
	}
	if told {
		// It may have been upgraded meanwhile.
		w.c.Invalidate()
		w.handler.Reachable(nil)
	}
	o.mu.Lock()
	close(o.over)
	o.over, o.real = nil, told
	o.mu.Unlock()
}
