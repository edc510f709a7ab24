package git

import (
	"context"
	"os"
	"path/filepath"
	"sync"
)

const maintenanceLock = "maintenance.lock"

// maintenance packs a mirror in the background, after a fetch and not during
// it. Git decides whether there is something to do.
type maintenance struct {
	mu     sync.Mutex
	count  int
	cancel context.CancelFunc
	done   chan struct{}
}

// maintenanceEvery is after how many fetches with news a round begins. Git's
// own measure is 50 packs, of which each of them makes one.
const maintenanceEvery = 16

// start begins a round if it is time, unless one is under way.
func (w *maintenance) start(m *Mirror, fresh bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.count++; !fresh && w.count%maintenanceEvery != 1 {
		return
	}
	if w.done != nil {
		select {
		case <-w.done:
		default:
			return
		}
	}
	ctx, cancel := context.WithCancel(m.ctx)
	done := make(chan struct{})
	w.cancel, w.done = cancel, done
	go func() {
		defer close(done)
		defer cancel()
		if err := maintain(ctx, m, fresh); err != nil && ctx.Err() == nil {
			// Packing is a matter of speed: the next round tries again.
			m.log.Info("maintenance of the mirror failed", "error", err)
		}
	}()
}

func maintain(ctx context.Context, m *Mirror, fresh bool) error {
	lock, err := acquire(ctx, filepath.Join(m.base, maintenanceLock))
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := packRefs(ctx, m, lock, fresh); err != nil {
		return err
	}
	_, err = m.run.run(ctx, call{args: []string{"gc", "--auto", "--quiet"}, hold: lock})
	return err
}

// packRefs moves refs into one file when there are many of them in files of
// their own, as after the first fetch.
func packRefs(ctx context.Context, m *Mirror, lock *os.File, fresh bool) error {
	_, err := os.Stat(filepath.Join(m.run.dir, "packed-refs"))
	if err == nil && !fresh {
		return nil
	}
	_, err = m.run.run(ctx, call{args: []string{"pack-refs", "--all"}, hold: lock})
	return err
}

// stop ends a round and waits for its end.
func (w *maintenance) stop() {
	w.mu.Lock()
	cancel, done := w.cancel, w.done
	w.mu.Unlock()
	if cancel != nil {
		cancel()
		<-done
	}
}
