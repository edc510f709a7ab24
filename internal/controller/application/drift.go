package application

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/live"
)

// watchDrift reports what is not to be restored: what was known to have drifted
// and still differs, and what the events are about.
func (x *run) watchDrift(ctx context.Context, events map[mizzen.Ref]live.Event) *result {
	release, err := x.busy(ctx)
	if err != nil {
		return &result{silent: true}
	}
	defer release()
	before := x.m.driftNow()
	suspects := map[mizzen.Ref]struct{}{}
	for ref := range before {
		suspects[ref] = struct{}{}
	}
	for ref := range events {
		suspects[ref] = struct{}{}
	}
	if _, err := x.inspect(ctx, maps.Keys(suspects)); err != nil {
		x.giveBack(events)
		return x.failedAside(err)
	}
	x.noteDrift()
	if err := x.own(ctx); err != nil {
		x.giveBack(events)
		return x.failedAside(err)
	}
	for ref, c := range x.m.driftNow() {
		if _, known := before[ref]; !known {
			text := driftLine(c) + changedBy(events[ref])
			x.Recorder.Eventf(x.app, about(c), corev1.EventTypeWarning, v1alpha1.ReasonDrifted, "Watch", "%s", clip(text, maxMessage))
		}
	}
	// What is gone is not healthy any more.
	return x.judge(ctx, x.withTouched(suspects))
}

// own takes back the fields that are as Git has them and belong to somebody
// else since they were changed to and fro: who does not own a field does not see
// that it changes.
func (x *run) own(ctx context.Context) error {
	x.planned.Changes = slices.DeleteFunc(x.planned.Changes, func(c mizzen.Change) bool { return !ownershipOnly(c) })
	// It leaves the content as it was applied, and so the inventory.
	_, err := x.Engine.Sync(ctx, x.planned)
	return err
}

// ownershipOnly tells whether a change leaves the content as it is.
func ownershipOnly(c mizzen.Change) bool { return c.Action == mizzen.Update && len(c.Fields) == 0 }

// noteDrift remembers what the plan would restore.
func (x *run) noteDrift() {
	drift := map[mizzen.Ref]mizzen.Change{}
	for _, c := range x.planned.Changes {
		if c.Action.Writes() && !ownershipOnly(c) {
			drift[c.Ref] = c
		}
	}
	x.m.setDrift(drift)
}

// driftedAs says what left the synced state, and how to get back there.
func (x *run) driftedAs() verdict {
	const most = 3
	var texts []string
	for _, c := range x.m.driftNow() {
		texts = append(texts, driftLine(c))
	}
	slices.Sort(texts)
	if n := len(texts); n > most {
		texts = append(texts[:most], fmt.Sprintf("and %d more", n-most))
	}
	return no(v1alpha1.ReasonDrifted, "drifted, and spec.sync.selfHeal is off: a sync would "+strings.Join(texts, "; ")+
		"; 'mizzen sync "+x.name.Name+"' restores it")
}

// driftLine is a change without what is secret or long.
func driftLine(c mizzen.Change) string { return clip(c.String(), 200) }

func changedBy(e live.Event) string {
	if len(e.Managers) == 0 {
		return ""
	}
	return "; changed by " + strings.Join(e.Managers, ", ")
}
