package cluster

import (
	"context"
	"runtime/debug"
	"time"
)

// A cluster that starts makes much garbage beside little that stays, and the
// processors are what everybody waits for: an eighth of its work would be
// collections. Later it is memory that counts. What stays lies scattered over
// what was garbage, so that a still larger heap would never be given back.
const (
	startGCPercent = 200
	// settling is how long after the cluster's own start others start in it.
	settling = 40 * time.Second
)

// startGenerously lets the heap grow. The function that it returns begins the
// time after which the process gives back what it does not need.
func startGenerously(ctx context.Context) (started func()) {
	usual := debug.SetGCPercent(startGCPercent)
	return func() {
		timer := time.NewTimer(settling)
		go func() {
			defer timer.Stop()
			select {
			case <-ctx.Done():
			case <-timer.C:
				debug.SetGCPercent(usual)
				debug.FreeOSMemory()
			}
		}()
	}
}
