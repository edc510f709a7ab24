package supervise

import (
	"context"
	"time"

	"mizzen.dev/mizzen/lab/internal/state"
)

// watchIdle closes idle once nobody has held a lease of the lab for limit. It
// then keeps the lock until the process ends: whoever wants a lease waits, and
// finds a lab that is gone instead of one that is going.
func watchIdle(ctx context.Context, dir state.Dir, limit time.Duration, idle chan<- struct{}) {
	tick := time.NewTicker(min(time.Second, limit/4))
	defer tick.Stop()
	unused := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		lock, err := dir.LockLeases()
		switch {
		case err != nil:
			unused = time.Now()
		case time.Since(unused) >= limit:
			close(idle)
			<-ctx.Done()
			lock.Close()
			return
		default:
			lock.Close()
		}
	}
}
