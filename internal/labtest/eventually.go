package labtest

import (
	"context"
	"testing"
	"time"
)

// patience bounds a wait in a test that has no deadline of its own, or a
// later one: a condition that does not come should fail its own test.
// Kubelets on a busy machine take their time.
const patience = 10 * time.Minute

// Eventually waits until condition holds and fails the test, saying what was
// awaited, if it does not within ten minutes. It says nothing about speed.
func Eventually(t testing.TB, what string, condition func(context.Context) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !condition(ctx) {
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain for %s", what)
		case <-tick.C:
		}
	}
}
