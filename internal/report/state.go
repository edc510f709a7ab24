package report

import (
	"cmp"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mizzen.dev/mizzen/api/v1alpha1"
)

// State is one word for what the conditions of an object say together.
type State string

// The states, from worst to best.
const (
	// Stalled: nothing will happen until somebody acts.
	Stalled State = "Stalled"
	// Failed: the last try went wrong; it is tried again.
	Failed State = "Failed"
	// Degraded: it is as Git says, but an object is broken.
	Degraded State = "Degraded"
	// Unknown: it cannot be told now.
	Unknown State = "Unknown"
	// OutOfSync: Git and cluster differ, and somebody decided that they may.
	OutOfSync State = "OutOfSync"
	// Progressing: work is under way.
	Progressing State = "Progressing"
	// Suspended: somebody stopped it.
	Suspended State = "Suspended"
	// Held: it stays at a revision on purpose.
	Held State = "Held"
	// Ready: it is as Git says, and up.
	Ready State = "Ready"
)

var stateRank = map[State]int{
	Stalled: 0, Failed: 1, Degraded: 2, Unknown: 3, OutOfSync: 4, Progressing: 5, Suspended: 6, Held: 7, Ready: 8,
}

// CompareStates orders the worst first.
func CompareStates(a, b State) int { return cmp.Compare(stateRank[a], stateRank[b]) }

// mark is a sign and the word, so that color alone says nothing.
func (s Style) state(state State) painted {
	switch state {
	case Ready, Held:
		return s.paint(green, "✓ "+string(state))
	case Stalled, Failed, Degraded:
		return s.paint(red, "✗ "+string(state))
	case Progressing:
		return s.paint(yellow, "… "+string(state))
	case Suspended, OutOfSync:
		return s.paint(yellow, "! "+string(state))
	case Unknown:
	}
	return s.paint(yellow, "? "+string(state))
}

// Condition returns a condition; one that is not there yet is Unknown.
func Condition(conditions []metav1.Condition, kind string) metav1.Condition {
	if c := meta.FindStatusCondition(conditions, kind); c != nil {
		return *c
	}
	return metav1.Condition{Type: kind, Status: metav1.ConditionUnknown, Message: "not evaluated yet"}
}

// InProgress tells whether the controller still has to see to the spec as it
// is, or is at it.
func InProgress(app *v1alpha1.Application) bool {
	if app.Status.ObservedGeneration != app.Generation {
		return true
	}
	synced := Condition(app.Status.Conditions, v1alpha1.ConditionSynced)
	return synced.Status != metav1.ConditionTrue && meta.IsStatusConditionTrue(app.Status.Conditions, v1alpha1.ConditionReconciling)
}

// stateOf sums up the conditions of an Application.
func stateOf(app *v1alpha1.Application) State {
	conditions := app.Status.Conditions
	synced := Condition(conditions, v1alpha1.ConditionSynced)
	switch {
	case app.Spec.Suspend:
		return Suspended
	case len(conditions) == 0, app.Status.ObservedGeneration != app.Generation:
		return Unknown
	case meta.IsStatusConditionTrue(conditions, v1alpha1.ConditionStalled):
		return Stalled
	case synced.Status == metav1.ConditionUnknown:
		return Unknown
	case synced.Status == metav1.ConditionFalse:
		return unsyncedState(synced.Reason)
	}
	healthy := Condition(conditions, v1alpha1.ConditionHealthy)
	switch {
	case healthy.Status == metav1.ConditionUnknown:
		return Unknown
	case healthy.Status == metav1.ConditionTrue && app.Spec.Hold != nil:
		return Held
	case healthy.Status == metav1.ConditionTrue:
		return Ready
	case healthy.Reason == v1alpha1.ReasonProgressing:
		return Progressing
	}
	return Degraded
}

func unsyncedState(reason string) State {
	switch reason {
	case v1alpha1.ReasonManualSync, v1alpha1.ReasonAwaitingApproval, v1alpha1.ReasonDrifted:
		return OutOfSync
	case v1alpha1.ReasonProgressing, v1alpha1.ReasonDependencyNotReady, v1alpha1.ReasonRepositoryNotReady, v1alpha1.ReasonTerminating:
		return Progressing
	case v1alpha1.ReasonSuspended:
		return Suspended
	}
	return Failed
}

// readyState sums up an object that has only a Ready condition.
func readyState(conditions []metav1.Condition, current bool) State {
	ready := Condition(conditions, v1alpha1.ConditionReady)
	switch {
	case !current || ready.Status == metav1.ConditionUnknown:
		return Unknown
	case ready.Status == metav1.ConditionTrue:
		return Ready
	case meta.IsStatusConditionTrue(conditions, v1alpha1.ConditionStalled):
		return Stalled
	}
	return Failed
}
