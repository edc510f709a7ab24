package application

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/engine"
)

const (
	// firstRetry and lastRetry bound the pause after a failure.
	firstRetry = time.Second
	lastRetry  = 5 * time.Minute
	// outageRetry is how often an unreachable cluster is asked whether it is
	// back; the watches usually tell earlier.
	outageRetry = 5 * time.Second
)

// previous is the finding that the status already tells.
func (x *run) previous() finding {
	of := func(kind string) verdict {
		c := meta.FindStatusCondition(x.app.Status.Conditions, kind)
		if c == nil {
			return unknown(v1alpha1.ReasonProgressing, "not evaluated yet")
		}
		return verdict{c.Status, c.Reason, c.Message}
	}
	return finding{synced: of(v1alpha1.ConditionSynced), healthy: of(v1alpha1.ConditionHealthy)}
}

// waitingFor is the finding of an Application that cannot go on yet, but will
// by itself.
func (x *run) waitingFor(reason, message string) finding {
	f := x.previous()
	f.synced, f.reconciling = no(reason, message), true
	return f
}

// stall says that somebody has to act.
func (x *run) stall(reason, message string) *result {
	f := x.previous()
	f.synced, f.stalled = no(reason, message), true
	x.m.unsettle()
	return &result{finding: f}
}

// fail says what went wrong and tries again later, with growing pauses. Until
// then news are seen to as far as the revision that is synced allows.
func (x *run) fail(reason string, err error) *result {
	f := x.previous()
	f.synced = no(reason, err.Error())
	f.reconciling = true
	pause := x.backoff()
	if x.snapshot == nil {
		x.m.unsettle()
	} else {
		x.settle(true)
		x.m.expire(x.now.Add(pause))
	}
	return &result{finding: f, after: pause + x.Jitter(pause/4)}
}

// backoff is the pause before the next try; it grows from one to the next.
func (x *run) backoff() time.Duration {
	pause := min(firstRetry<<min(x.m.failures, 16), lastRetry)
	x.m.failures++
	return pause
}

// failed turns an error of the engine into what the status says of it.
func (x *run) failed(err error) *result {
	x.err = err
	stage := engine.Stage("")
	var at *engine.StageError
	if errors.As(err, &at) {
		stage = at.Stage
	}
	if mizzen.KindOf(err) == mizzen.Unreachable {
		return x.unreachable(err)
	}
	reason, final := reasonOf(stage, err)
	if reason == v1alpha1.ReasonOwnedByAnother && x.claim() {
		x.m.unsettle()
		return &result{silent: true, after: time.Millisecond}
	}
	x.complain(reason, err)
	x.app.Status.Attempted = x.snapshot.Commit().ID
	if !final {
		return x.fail(reason, err)
	}
	r := x.stall(reason, fmt.Sprintf("%s: %s", x.snapshot.Commit().Short(), err))
	x.settle(true)
	if stage == engine.StageValidate {
		// What the schemas of the cluster say may change with the cluster.
		r.after = lastRetry
		x.m.expire(x.now.Add(lastRetry))
	}
	return r
}

// reasonOf names a failure, and tells whether only another commit or another
// spec can mend it.
func reasonOf(stage engine.Stage, err error) (reason string, final bool) {
	kind := mizzen.KindOf(err)
	switch stage {
	case engine.StageRender:
		return v1alpha1.ReasonRenderFailed, kind != mizzen.Internal
	case engine.StageEmpty:
		return v1alpha1.ReasonEmptyRender, true
	case engine.StageValidate:
		if errors.Is(err, engine.ErrOwnedByAnother) {
			return v1alpha1.ReasonOwnedByAnother, true
		}
		return v1alpha1.ReasonValidationFailed, true
	}
	switch kind {
	case mizzen.Forbidden:
		return v1alpha1.ReasonForbidden, false
	case mizzen.Timeout:
		return v1alpha1.ReasonTimeout, false
	}
	return v1alpha1.ReasonApplyFailed, false
}

// unreachable says that nothing can be told about the destination.
func (x *run) unreachable(err error) *result {
	f := x.previous()
	f.synced = unknown(v1alpha1.ReasonClusterUnreachable, err.Error())
	f.reconciling = true
	x.m.unsettle()
	return &result{finding: f, after: outageRetry + x.Jitter(outageRetry)}
}

// complain makes one Event of a failure, however often it is tried again.
func (x *run) complain(reason string, err error) {
	text := clip(fmt.Sprintf("%s: %s", x.snapshot.Commit().Short(), err), maxMessage)
	if x.m.lastFailure == text {
		return
	}
	x.m.lastFailure = text
	place := ""
	if known := new(mizzen.Error); errors.As(err, &known) {
		place = cmp.Or(known.Origin.String(), known.Object)
	}
	x.Recorder.Eventf(x.app, revisionOf(x.repository(), x.snapshot.Commit().ID, place), corev1.EventTypeWarning, reason, "Sync", "%s", text)
}
