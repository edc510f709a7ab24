package application

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mizzen.dev/mizzen/api/v1alpha1"
)

// verdict is a condition in the making.
type verdict struct {
	status  metav1.ConditionStatus
	reason  string
	message string
}

func yes(reason, message string) verdict { return verdict{metav1.ConditionTrue, reason, message} }
func no(reason, message string) verdict  { return verdict{metav1.ConditionFalse, reason, message} }
func unknown(reason, message string) verdict {
	return verdict{metav1.ConditionUnknown, reason, message}
}

// finding is what one reconcile came to, before it becomes status.
type finding struct {
	synced, healthy verdict
	// reconciling: work goes on by itself.
	reconciling bool
	// stalled: no retry can help; somebody must act.
	stalled bool
	// fighting names a field manager that undoes what is restored.
	fighting string
}

// maxMessage bounds a condition's message: the API allows 32 KiB, people read
// a line or two.
const maxMessage = 1024

// write sets the conditions of status to what was found. Conditions that are
// not so are removed, as kstatus expects of Reconciling and Stalled; they are
// sorted, and times move only when a status does, so that the same finding
// gives the same bytes.
func (f finding) write(status *v1alpha1.ApplicationStatus, generation int64, now metav1.Time) {
	status.ObservedGeneration = generation
	set := func(kind string, v verdict) {
		meta.SetStatusCondition(&status.Conditions, metav1.Condition{
			Type: kind, Status: v.status, Reason: v.reason, Message: clip(v.message, maxMessage),
			ObservedGeneration: generation, LastTransitionTime: now,
		})
	}
	ready := f.ready()
	set(v1alpha1.ConditionSynced, f.synced)
	set(v1alpha1.ConditionHealthy, f.healthy)
	set(v1alpha1.ConditionReady, ready)
	optional := func(kind string, on bool, v verdict) {
		if on {
			set(kind, v)
			return
		}
		meta.RemoveStatusCondition(&status.Conditions, kind)
	}
	optional(v1alpha1.ConditionReconciling, f.reconciling && !f.stalled, yes(v1alpha1.ReasonProgressing, ready.message))
	optional(v1alpha1.ConditionStalled, f.stalled, yes(ready.reason, ready.message))
	optional(v1alpha1.ConditionFighting, f.fighting != "", yes(v1alpha1.ReasonFieldManagerConflict, f.fighting))
	slices.SortFunc(status.Conditions, func(a, b metav1.Condition) int { return cmp.Compare(a.Type, b.Type) })
}

// ready is the answer to "is it as Git says, and up?".
func (f finding) ready() verdict {
	switch {
	case f.synced.status != metav1.ConditionTrue:
		return verdict{f.synced.status, f.synced.reason, f.synced.message}
	case f.healthy.status != metav1.ConditionTrue:
		return verdict{f.healthy.status, f.healthy.reason, f.healthy.message}
	}
	return yes(v1alpha1.ReasonSucceeded, f.synced.message)
}

// maxHistory is how many syncs an Application remembers.
const maxHistory = 20

// remember puts a sync at the head of the history. A failure that repeats
// itself replaces the one before, so that retries do not push successes out.
func remember(status *v1alpha1.ApplicationStatus, r v1alpha1.SyncRecord) {
	history := status.History
	if len(history) > 0 && r.Result == v1alpha1.SyncFailed {
		last := history[0]
		if last.Result == r.Result && last.Revision == r.Revision && last.Message == r.Message {
			history = history[1:]
		}
	}
	history = append([]v1alpha1.SyncRecord{r}, history...)
	status.History = history[:min(len(history), maxHistory)]
}

// clip shortens s to at most n bytes without cutting a character.
func clip(s string, n int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= n {
		return s
	}
	end := n - len("…")
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}
