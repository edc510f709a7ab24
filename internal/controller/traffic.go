package controller

import (
	"context"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/engine"
	"mizzen.dev/mizzen/internal/engine/review"
)

// TrafficPlanner says what a change does to traffic, by a process of its own:
// istiod's code, which plans it, is not in this package, nor in its tests.
type TrafficPlanner interface {
	review.TrafficPlanner
	engine.Analyzer
	// Rest ends the process; the next question starts another one.
	Rest()
}

// idleTraffic is how long a traffic worker may have nothing to do before it is
// ended: it is as large as the meshes that it knows.
const idleTraffic = 5 * time.Minute

// traffic plans traffic in a process of its own, which starts with the first
// question and ends when there was none for a while.
type traffic struct {
	planner TrafficPlanner
	clock   clock.WithTicker

	mu sync.Mutex
	// asked counts the questions; watched: somebody waits for them to cease.
	asked   int
	watched bool
}

// Effects says what becomes different in a mesh.
func (t *traffic) Effects(ctx context.Context, before, after []mizzen.Object) ([]mizzen.Effect, error) {
	defer t.used()
	return t.planner.Effects(ctx, before, after)
}

// Analyze says what is wrong with objects.
func (t *traffic) Analyze(ctx context.Context, objects []mizzen.Object) ([]mizzen.Finding, error) {
	defer t.used()
	return t.planner.Analyze(ctx, objects)
}

func (t *traffic) used() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asked++
	if !t.watched {
		t.watched = true
		go t.watch(t.asked)
	}
}

// watch ends the worker when nothing was asked for a while.
func (t *traffic) watch(asked int) {
	for {
		<-t.clock.After(idleTraffic)
		t.mu.Lock()
		if t.asked == asked {
			t.watched = false
			t.mu.Unlock()
			t.close()
			return
		}
		asked = t.asked
		t.mu.Unlock()
	}
}

func (t *traffic) close() { t.planner.Rest() }
