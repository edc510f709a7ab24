package worker

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// A worker may have room for garbage beside what it needs, or half of that if it
// is more: a small question takes little memory, and a warm worker does not
// collect again and again what a large mesh keeps.
const (
	room     = 128 << 20
	half     = 50
	smallest = 4 << 20
)

// collect has garbage collected by that rule from now on: each collection says
// when the next one is due.
func collect() {
	type marker struct{ _ *marker }
	var again func(*marker)
	again = func(m *marker) {
		debug.SetGCPercent(growth(live()))
		runtime.SetFinalizer(m, again) // run after the next collection
	}
	again(&marker{})
}

// growth is how much the heap may grow, in percent of what is live, in bytes.
func growth(live uint64) int {
	return max(half, int(room*100/max(live, smallest)))
}

// live is what the last collection left, in bytes.
func live() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return room
	}
	return sample[0].Value.Uint64()
}
