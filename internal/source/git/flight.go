package git

import (
	"context"
	"sync"
)

// flights lets concurrent callers share fetches. A caller never shares one
// that had begun before it asked, since the server may have answered that one
// before the push that the caller was told of; so there is at most one fetch
// under way and one waiting.
type flights struct {
	mu      sync.Mutex
	current *flight
	next    *flight
}

type flight struct {
	ctx     context.Context
	cancel  context.CancelFunc
	waiting int
	done    chan struct{}
	result  Fetched
	err     error
}

// join starts or joins a flight and waits for its end. The flight lasts as
// long as somebody waits for it; it sees the values of the first one's ctx.
func (f *flights) join(ctx context.Context, fetch func(context.Context) (Fetched, error)) (Fetched, error) {
	mine := f.board(ctx, fetch)
	select {
	case <-mine.done:
		return mine.result, mine.err
	case <-ctx.Done():
		f.mu.Lock()
		mine.waiting--
		if mine.waiting == 0 {
			mine.cancel()
			// Nobody may board a flight that is called off.
			if f.next == mine {
				f.next = nil
			}
		}
		f.mu.Unlock()
		return Fetched{}, context.Cause(ctx)
	}
}

func (f *flights) board(ctx context.Context, fetch func(context.Context) (Fetched, error)) *flight {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.next != nil {
		f.next.waiting++
		return f.next
	}
	fresh := &flight{waiting: 1, done: make(chan struct{})}
	fresh.ctx, fresh.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if f.current == nil {
		f.current = fresh
		go f.fly(fresh, fetch)
	} else {
		f.next = fresh
	}
	return fresh
}

// fly carries out a flight and those that follow it. When it finds none it ends
// in the same critical section: whoever boards next starts another fly.
func (f *flights) fly(current *flight, fetch func(context.Context) (Fetched, error)) {
	for current != nil {
		current.result, current.err = fetch(current.ctx)
		current.cancel()
		f.mu.Lock()
		close(current.done)
		f.current, f.next = f.next, nil
		current = f.current
		f.mu.Unlock()
	}
}
