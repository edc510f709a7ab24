package application

import (
	"context"
	"log/slog"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mizzen.dev/mizzen/api/v1alpha1"
)

// say logs what keeps an Application from being synced or healthy: once,
// however often it is found, and once that it is over.
func (x *run) say(ctx context.Context, f finding) {
	what, v := f.trouble()
	trouble := ""
	if what != "" {
		trouble = what + v.reason + v.message
	}
	if trouble == x.m.said {
		return
	}
	before := x.m.said
	x.m.said = trouble
	attributes := []any{"application", x.name.String()}
	if x.snapshot != nil {
		attributes = append(attributes, "commit", x.snapshot.Commit().Short())
	}
	switch {
	case what != "":
		x.Log.Log(ctx, weight(v.reason), what, append(attributes, "reason", v.reason, "message", v.message)...)
	case before != "":
		x.Log.InfoContext(ctx, "ready", attributes...)
	}
}

// trouble says in two words what is wrong, and why; "" if nothing is. That
// objects are on their way up is no trouble.
func (f finding) trouble() (what string, v verdict) {
	switch {
	case f.synced.status != metav1.ConditionTrue:
		return "not synced", f.synced
	case f.healthy.reason == v1alpha1.ReasonDegraded:
		return "not healthy", f.healthy
	case f.fighting != "":
		return "fighting", verdict{reason: v1alpha1.ReasonFieldManagerConflict, message: f.fighting}
	}
	return "", verdict{}
}

// weight is how much a reason matters to whoever watches the log.
func weight(reason string) slog.Level {
	switch reason {
	case v1alpha1.ReasonClusterUnreachable:
		return slog.LevelDebug // that of a cluster is said once, not for each Application
	case v1alpha1.ReasonProgressing, v1alpha1.ReasonDependencyNotReady, v1alpha1.ReasonRepositoryNotReady,
		v1alpha1.ReasonManualSync, v1alpha1.ReasonAwaitingApproval, v1alpha1.ReasonSuspended:
		return slog.LevelInfo
	}
	return slog.LevelWarn
}
