package worker_test

import (
	"testing"

	"mizzen.dev/mizzen/internal/traffic/worker"
)

func TestGrowth(t *testing.T) {
	for live, want := range map[uint64]int{0: 3200, 4 << 20: 3200, 64 << 20: 200, 256 << 20: 50, 1 << 30: 50} {
		if got := worker.Growth(live); got != want {
			t.Errorf("%d MiB may grow by %d %%, want %d %%", live>>20, got, want)
		}
	}
}
