package application

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/engine"
	"mizzen.dev/mizzen/internal/health"
	"mizzen.dev/mizzen/internal/live"
)

// debounce is how long the news of an object gathers before it is judged: a
// rollout changes a Deployment's status many times a second.
const debounce = 100 * time.Millisecond

// conclude judges the health of all objects after a sync.
func (x *run) conclude(ctx context.Context) result {
	targets := x.others(x.outcome.Inventory.Targets())
	unhealthy, err := x.Engine.Health(ctx, x.destination.Cluster, targets)
	if err != nil {
		return *x.failed(&engine.StageError{Stage: engine.StageRead, Err: err})
	}
	x.m.unhealthy = map[mizzen.Ref]health.Judgement{}
	maps.Copy(x.m.unhealthy, unhealthy)
	x.m.places = x.places(targets)
	x.blind(x.outcome.Inventory)
	r := x.state()
	if x.m.blind != "" {
		// No news will tell, so that everything is looked at again.
		x.m.expire(x.now.Add(blindPause))
		r.after = blindPause + x.Jitter(blindPause/10)
	}
	return r
}

// blindPause is how often an Application is looked at whose objects cannot be
// watched.
const blindPause = time.Minute

// blind notes the first kind of the inventory that cannot be watched, and why.
func (x *run) blind(inventory engine.Inventory) {
	x.m.blind = ""
	for ref := range inventory {
		err := x.destination.Watcher.Failure(ref.GroupKind())
		if mizzen.KindOf(err) != mizzen.Forbidden {
			continue
		}
		why := fmt.Sprintf("%s is not watched, so that drift is seen late: %s", ref.GroupKind(), err)
		if x.m.blind == "" || why < x.m.blind {
			x.m.blind = why
		}
	}
}

// places says where in the repository the objects stand that may be unhealthy.
func (x *run) places(targets []live.Target) map[mizzen.Ref]string {
	places := map[mizzen.Ref]string{}
	for _, t := range targets {
		if at := x.planned.Origin(t.Ref()).String(); at != "" && x.Engine.Judge.NeedsObject(t.Kind.GroupKind()) {
			places[t.Ref()] = at
		}
	}
	return places
}

// judge looks again at the objects that something happened to.
func (x *run) judge(ctx context.Context, touched map[mizzen.Ref]struct{}) *result {
	targets, err := x.targets(ctx, touched)
	if err != nil {
		return x.fail(v1alpha1.ReasonFetchFailed, err)
	}
	unhealthy, err := x.Engine.Health(ctx, x.destination.Cluster, x.others(targets))
	if err != nil {
		return x.failed(&engine.StageError{Stage: engine.StageRead, Err: err})
	}
	for ref := range touched {
		delete(x.m.unhealthy, ref)
	}
	if x.m.unhealthy == nil {
		x.m.unhealthy = map[mizzen.Ref]health.Judgement{}
	}
	maps.Copy(x.m.unhealthy, unhealthy)
	r := x.state()
	return &r
}

// targets are the objects to be judged: what is touched, and all if none was
// judged by this process yet. What was pruned and takes its time to go is no
// part of the Application any more.
func (x *run) targets(ctx context.Context, touched map[mizzen.Ref]struct{}) ([]live.Target, error) {
	if x.m.unhealthy == nil {
		inventory, err := ReadInventory(ctx, x.Uncached, x.app)
		return inventory.Targets(), err
	}
	targets := make([]live.Target, 0, len(touched))
	for _, e := range x.app.Status.Inventory.Entries {
		if ref, ok := mizzen.ParseRef(e.Ref); ok {
			if _, hit := touched[ref]; hit {
				targets = append(targets, targetOf(ref, e.Version))
			}
		}
	}
	if len(x.app.Status.Inventory.Parts) > 0 {
		// Reading them takes longer than the news last: the kind's preferred
		// version will do.
		return x.preferred(ctx, touched), nil
	}
	return targets, nil
}

// others leaves out the Application itself, which an app of apps may hold: it
// would wait for its own health.
func (x *run) others(targets []live.Target) []live.Target {
	return slices.DeleteFunc(targets, func(t live.Target) bool {
		return engine.IsApplication(t.Ref(), x.name)
	})
}

func (x *run) preferred(ctx context.Context, touched map[mizzen.Ref]struct{}) []live.Target {
	targets := make([]live.Target, 0, len(touched))
	for ref := range touched {
		if found, err := x.destination.Cluster.Preferred(ctx, ref.GroupKind()); err == nil {
			targets = append(targets, live.Target{Kind: found.Kind, Namespace: ref.Namespace, Name: ref.Name})
		}
	}
	return targets
}

// state is the finding of an Application whose evaluation is settled. If that
// ended otherwise than in a sync, it says so as before.
func (x *run) state() result {
	worst := health.Worst(maps.All(x.m.unhealthy))
	x.app.Status.Health = string(worst.Status)
	var f finding
	switch {
	case x.m.settled().behind():
		f = x.previous()
		f.stalled = meta.IsStatusConditionTrue(x.app.Status.Conditions, v1alpha1.ConditionStalled)
		f.reconciling = meta.IsStatusConditionTrue(x.app.Status.Conditions, v1alpha1.ConditionReconciling)
	case len(x.m.driftNow()) > 0:
		f.synced = x.driftedAs()
	default:
		f.synced = x.syncedAs()
	}
	var over time.Duration
	f.fighting, over = x.fighting()
	f.healthy, f.reconciling = healthVerdict(worst), f.reconciling || worst.Status == health.Progressing
	if at := x.m.places[worst.Worst]; at != "" && f.healthy.reason == v1alpha1.ReasonDegraded {
		f.healthy.message += " (" + at + ")"
	}
	return result{finding: f, after: over}
}

func healthVerdict(worst health.Summary) verdict {
	switch worst.Status {
	case health.Healthy:
		return yes(v1alpha1.ReasonSucceeded, "all objects are healthy")
	case health.Suspended:
		return yes(v1alpha1.ReasonSucceeded, worst.Message)
	case health.Progressing:
		return no(v1alpha1.ReasonProgressing, worst.Message)
	case health.Unknown:
		return unknown(v1alpha1.ReasonHealthUnknown, worst.Message)
	}
	return no(v1alpha1.ReasonDegraded, worst.Message)
}

// syncedAs says at which revision the Application is, and why it stays there.
func (x *run) syncedAs() verdict {
	at := fmt.Sprintf("%.8s", x.app.Status.Revision)
	if x.held {
		message := "held at " + at
		if reason := x.app.Spec.Hold.Reason; reason != "" {
			message += ": " + reason
		}
		return yes(v1alpha1.ReasonHeld, message+"; 'mizzen resume "+x.name.Name+"' follows Git again")
	}
	message := "synced to " + at
	if n := x.skipped(); n > 0 {
		message += fmt.Sprintf("; %d skipped: see findings", n)
	}
	if x.m.blind != "" {
		message += "; " + x.m.blind
	}
	return yes(v1alpha1.ReasonSucceeded, message)
}

func (x *run) skipped() int {
	x.m.mu.Lock()
	defer x.m.mu.Unlock()
	if x.planned != nil && !x.planned.Partial() {
		x.m.skipped = x.planned.Counts().Skipped
	}
	return x.m.skipped
}
