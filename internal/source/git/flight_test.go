package git

import (
	"context"
	"sync"
	"testing"
)

// TestFlightsThatEndWhileOthersBoard: a flight that ends just as somebody
// boards was carried out twice, which ended the process.
func TestFlightsThatEndWhileOthersBoard(t *testing.T) {
	var (
		f    flights
		mu   sync.Mutex
		busy bool
	)
	fetch := func(context.Context) (Fetched, error) {
		if !mu.TryLock() {
			t.Error("two fetches at a time")
			return Fetched{}, nil
		}
		defer mu.Unlock()
		busy = !busy // for the race detector
		return Fetched{}, nil
	}
	var wait sync.WaitGroup
	// One caller alone boards just when its last flight ends.
	for callers := range 3 {
		for range callers + 1 {
			wait.Go(func() {
				for range 5000 {
					if _, err := f.join(t.Context(), fetch); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wait.Wait()
	}
}
