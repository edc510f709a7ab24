package worker_test

import (
	"runtime"
	"testing"
	"time"

	"mizzen.dev/mizzen/internal/traffic/worker"
)

// TestIdle: a worker that has nothing to do ends, and the next job gets another,
// but for what is remembered.
func TestIdle(t *testing.T) {
	started := 0
	client := worker.Client{Idle: time.Nanosecond, Starting: func() { started++ }}
	defer client.Close()
	planner := worker.Planner{Client: &client}
	for _, n := range []int{1, 2, 1} {
		if _, err := planner.Analyze(t.Context(), services(t, n)); err != nil {
			t.Fatal(err)
		}
		for client.Running() {
			runtime.Gosched() // the test's own time limit bounds this
		}
	}
	if started != 2 {
		t.Errorf("%d workers were started, want 2", started)
	}
}
