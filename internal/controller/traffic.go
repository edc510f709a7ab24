package controller

import (
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
