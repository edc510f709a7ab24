package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/health"
	"mizzen.dev/mizzen/internal/live"
)

// Pauses between two looks at a wave that is not ready yet.
const (
	firstLook = 100 * time.Millisecond
	lastLook  = 2 * time.Second
	// patience is the pause from which on it is told what is waited for.
	patience = 400 * time.Millisecond
)

// ErrDegraded says that an object of a wave is broken, so that the next wave
// does not begin.
var ErrDegraded = errors.New("an object of this wave is broken")

// waitReady waits until the objects of a wave are healthy. It fails at once if
// one is broken, and with ctx; the error names the worst object.
func (e *Engine) waitReady(ctx context.Context, p *Planned, refs []mizzen.Ref) error {
	worst, err := e.worst(ctx, p, refs)
	if err != nil || worst.Status == health.Healthy {
		return err
	}
	if p.Yield != nil {
		defer p.Yield()()
	}
	told := ""
	for pause := firstLook; worst.Status != health.Healthy; pause = min(2*pause, lastLook) {
		if worst.Status == health.Degraded {
			return p.notReady(worst, ErrDegraded)
		}
		if pause > patience && p.Waits != nil && worst.Message != told {
			told = worst.Message
			p.Waits(ctx, worst)
		}
		if !e.rest(ctx, pause) {
			return p.notReady(worst, context.Cause(ctx))
		}
		if worst, err = e.worst(ctx, p, refs); err != nil {
			return err
		}
	}
	return nil
}

// worst judges the objects of a wave.
func (e *Engine) worst(ctx context.Context, p *Planned, refs []mizzen.Ref) (health.Summary, error) {
	var targets []live.Target
	for _, ref := range refs {
		// An Application that holds itself would wait for itself.
		if o, ok := p.objects[ref]; ok && !IsApplication(ref, p.Application) {
			targets = append(targets, targetOf(ref, o.GroupVersionKind().Version))
		}
	}
	unhealthy, err := e.Health(ctx, p.target.Destination.Cluster, targets)
	return health.Worst(maps.All(unhealthy)), err
}

// IsApplication tells whether an object is the Application of that name.
func IsApplication(ref mizzen.Ref, name mizzen.Name) bool {
	return ref.Group == v1alpha1.GroupVersion.Group && ref.Kind == "Application" && ref.Namespace == name.Namespace && ref.Name == name.Name
}

// rest lets time pass; it is cut short, and false, if ctx ends.
func (e *Engine) rest(ctx context.Context, d time.Duration) bool {
	timer := e.Clock.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C():
		return true
	case <-ctx.Done():
		return false
	}
}

func (p *Planned) notReady(worst health.Summary, cause error) error {
	kind := mizzen.Timeout
	if errors.Is(cause, ErrDegraded) {
		kind = mizzen.Conflict
	}
	return &mizzen.Error{
		Kind: kind, Object: worst.Worst.String(), Origin: p.Origin(worst.Worst), Err: fmt.Errorf("%s: %w", worst.Message, cause),
		Remedy: "mend the object in Git; later waves were not begun",
	}
}

// Origin is where an object begins in the Snapshot; zero if the Plan does not
// have the object.
func (p *Planned) Origin(ref mizzen.Ref) mizzen.Origin { return p.objects[ref].Origins.Object }

// targetOf names an object in the version that the inventory has.
func targetOf(ref mizzen.Ref, version string) live.Target {
	return live.Target{
		Kind:      schema.GroupVersionKind{Group: ref.Group, Version: version, Kind: ref.Kind},
		Namespace: ref.Namespace, Name: ref.Name,
	}
}

// Targets returns the objects of an inventory as they can be read.
func (i Inventory) Targets() []live.Target {
	targets := make([]live.Target, 0, len(i))
	for ref, e := range i {
		targets = append(targets, targetOf(ref, e.Version))
	}
	return targets
}
