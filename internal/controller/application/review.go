package application

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/engine/discover"
	"mizzen.dev/mizzen/internal/engine/review"
	"mizzen.dev/mizzen/internal/render"
)

// review holds a revision that the policy of its repository does not allow,
// until it is approved, if the gate is one that holds. What runs is kept as it is
// meanwhile.
func (x *run) review(ctx context.Context) *result {
	x.m.setRecheck(false)
	switch x.gateOf() {
	case v1alpha1.GatePolicy:
		return x.guard(ctx)
	case v1alpha1.GateReport:
		if r := x.ungated(ctx); r != nil {
			return r
		}
		return x.inform(ctx)
	case v1alpha1.GateNone:
	}
	if r := x.ungated(ctx); r != nil {
		return r
	}
	return x.pass(nil)
}

// gateOf is what a new revision has to pass.
func (x *run) gateOf() v1alpha1.Gate {
	return cmp.Or(x.app.Spec.Sync.Gate, x.DefaultGate, v1alpha1.GateNone)
}

// mostInforming is how long a sync waits for a review that holds nothing.
const mostInforming = time.Minute

// inform lets a revision go on, and says in the status what it does. That this is
// not known, or not in time, is an Event, and holds nothing.
func (x *run) inform(ctx context.Context) *result {
	if x.same() {
		return x.pass(x.kept())
	}
	bounded, cancel := context.WithTimeout(ctx, mostInforming)
	defer cancel()
	r, err := x.compare(bounded)
	if ctx.Err() != nil {
		return &result{silent: true}
	}
	if err != nil {
		x.complain(v1alpha1.ReasonReviewFailed, fmt.Errorf("it cannot be told what the revision does: %w", err))
		return x.pass(nil)
	}
	return x.pass(x.summaryOf(r, r.ApprovalDigest(), nil))
}

// kept is the last review, unless what it was about is not coming any more.
func (x *run) kept() *v1alpha1.ReviewStatus {
	if r := x.app.Status.Review; r != nil && r.Revision == x.app.Status.Revision {
		return r
	}
	return nil
}

// guard is the gate that holds.
func (x *run) guard(ctx context.Context) *result {
	if x.same() || x.ranBefore() {
		return x.pass(x.kept())
	}
	// Noted before anything is looked at: what comes meanwhile wakes only those
	// who are known to wait.
	x.gates.wait(x.name, x.repository())
	r, err := x.compare(ctx)
	if err != nil {
		return x.unreviewed(ctx, err)
	}
	digest := r.ApprovalDigest()
	given, doubt, err := x.given(ctx, digest)
	if err != nil {
		return x.unreviewed(ctx, err)
	}
	return x.decide(r, x.summaryOf(r, digest, given), given, doubt)
}

// ungated lets the revision of an Application without a gate that holds go on. If
// it had one, it must be the user who took it away: an older
// CustomResourceDefinition takes it from everybody and says nothing, and no edit
// of the spec is counted.
func (x *run) ungated(ctx context.Context) *result {
	if x.m.guarded == 0 {
		return nil
	}
	err := x.Served(ctx)
	if err == nil && x.app.Generation == x.m.guarded {
		err = errGateLost
	}
	if err == nil {
		x.m.guarded = 0
		return nil
	}
	if ctx.Err() != nil {
		return &result{silent: true}
	}
	x.err = fmt.Errorf("the Application had a gate, and nobody took it away: %w", err)
	x.complain(v1alpha1.ReasonReviewFailed, x.err)
	return x.fail(v1alpha1.ReasonReviewFailed, x.err)
}

// errGateLost is told where the definition is as it should be by now.
var errGateLost = errors.New("a definition of another version dropped spec.sync.gate; set it again, or edit the spec if it is to go")

// pass lets the revision go on.
func (x *run) pass(r *v1alpha1.ReviewStatus) *result {
	x.gates.leave(x.name)
	x.app.Status.Review = r
	return nil
}

// decide does what the Verdict says. doubt says why there are approvals that do
// not count.
func (x *run) decide(r *mizzen.Review, summary *v1alpha1.ReviewStatus, given []v1alpha1.Approval, doubt error) *result {
	x.app.Status.Review = summary
	switch {
	case r.Verdict.Decision == mizzen.Deny:
		return x.hold(v1alpha1.ReasonDenied, deniedText(r))
	case r.Verdict.Decision == mizzen.NeedsApproval && !enough(r.Verdict.Approvals, given):
		return x.awaitApproval(r, given, doubt)
	}
	for _, a := range r.Verdict.Approvals {
		x.agreed = append(x.agreed, usersOf(givenTo(a, given))...)
	}
	slices.Sort(x.agreed)
	x.agreed = slices.Compact(x.agreed)
	return x.pass(summary)
}

// awaitApproval holds the revision until its owners agree. doubt says why there
// are approvals that do not count; that may be mended without any news, and is
// seen when the revision is looked at again.
func (x *run) awaitApproval(r *mizzen.Review, given []v1alpha1.Approval, doubt error) *result {
	text := awaitingText(x.name.Name, r, given)
	if doubt == nil {
		return x.hold(v1alpha1.ReasonAwaitingApproval, text)
	}
	return x.hold(v1alpha1.ReasonAwaitingApproval, text+"; there are approvals that do not count: "+doubt.Error())
}

// same tells whether there is nothing to review: nothing to compare the revision
// with, or nothing that it changes.
func (x *run) same() bool {
	return x.app.Status.Revision == "" || x.app.Status.RenderKey == x.planned.Key.Identity()
}

// ranBefore tells whether the Application is held at a revision that it had.
func (x *run) ranBefore() bool {
	commit := x.snapshot.Commit().ID
	return x.held && slices.ContainsFunc(x.app.Status.History, func(r v1alpha1.SyncRecord) bool {
		return r.Result == v1alpha1.SyncSucceeded && r.Revision == commit
	})
}

// compare reviews the Application between the synced revision and the one at
// hand, among the other Applications of its repository and cluster, and among
// what else the cluster has.
func (x *run) compare(ctx context.Context) (*mizzen.Review, error) {
	// A cluster that is slow or away is waited for here, where it keeps nobody
	// from a review.
	if _, err := x.surroundings(ctx); err != nil {
		return nil, err
	}
	// Who waits for the traffic worker must not keep others from their work.
	release, err := x.Reviewing.Enter(ctx, x.name.Namespace)
	if err != nil {
		return nil, err
	}
	defer release()
	base, err := x.Sources.Snapshot(ctx, x.repository(), x.app.Status.Revision)
	if err != nil {
		return nil, fmt.Errorf("the synced revision is not there to compare with: %w", err)
	}
	version, apis, err := x.destination.Cluster.Capabilities(ctx)
	if err != nil {
		return nil, err
	}
	inTurn, cancel := context.WithTimeout(ctx, promptRead)
	defer cancel()
	surroundings, err := x.surroundings(inTurn) // as they are by now: the turn may have come late
	if err != nil {
		return nil, err
	}
	reviewer := *x.Reviewer
	reviewer.Masker = x.destination.Masker
	return reviewer.Single(ctx, review.Single{
		Application: discover.Of(x.app), Base: base, Head: x.snapshot, Others: x.neighbors(ctx), Live: surroundings,
		Capabilities: render.Capabilities{KubeVersion: version, APIVersions: apis},
	})
}

// lookAgain is how often a revision that is held is reviewed anew.
const lookAgain = 5 * time.Minute

// promptRead is how long a review that has its turn waits for its cluster.
const promptRead = 15 * time.Second

// surroundings are what the destination has beside Git. What the sync deletes
// goes, whoever brought it.
func (x *run) surroundings(ctx context.Context) (*review.Live, error) {
	objects, err := x.Surroundings.Of(ctx, x.destination.Cluster)
	if err != nil {
		return nil, fmt.Errorf("what cluster %s has beside Git cannot be read: %w", x.destination.Name, err)
	}
	return &review.Live{Server: x.destination.Name, Objects: objects, Leaving: x.planned.Deleted()}, nil
}

// neighbors are the other Applications of the repository that go to the same
// cluster, as they are synced. One that never was is taken as it is going to be.
func (x *run) neighbors(ctx context.Context) []review.Neighbor {
	at := map[string]mizzen.Snapshot{"": x.snapshot}
	var others []review.Neighbor
	for _, app := range x.list(ctx, x.name.Namespace, byRepository, x.app.Spec.Source.Repository) {
		if app.Name == x.name.Name || app.Spec.Destination.Cluster != x.app.Spec.Destination.Cluster || !app.DeletionTimestamp.IsZero() {
			continue
		}
		revision := app.Status.Revision
		if at[revision] == nil {
			snapshot, err := x.Sources.Snapshot(ctx, x.repository(), revision)
			if err != nil {
				snapshot = x.snapshot // the nearest that there is
			}
			at[revision] = snapshot
		}
		others = append(others, review.Neighbor{Application: discover.Of(&app), At: at[revision]})
	}
	return others
}

// unreviewed holds the revision because it is not known what it does, and tries
// again.
func (x *run) unreviewed(ctx context.Context, err error) *result {
	if ctx.Err() != nil {
		return &result{silent: true}
	}
	x.err = err
	if mizzen.KindOf(err) == mizzen.Unreachable {
		return x.unreachable(err)
	}
	err = fmt.Errorf("the gate cannot tell what the revision does, so that it waits: %w", err)
	x.complain(v1alpha1.ReasonReviewFailed, err)
	x.app.Status.Review = nil
	return x.fail(v1alpha1.ReasonReviewFailed, err)
}

// hold keeps what is synced and says why.
func (x *run) hold(reason, text string) *result {
	f := x.previous()
	f.synced = no(reason, fmt.Sprintf("Git is at %s: %s", x.snapshot.Commit().Short(), text))
	if x.m.lastFailure != f.synced.message {
		x.m.lastFailure = f.synced.message
		x.Recorder.Eventf(x.app, revisionOf(x.repository(), x.snapshot.Commit().ID, ""), corev1.EventTypeWarning, reason, "Review", "%s",
			clip(f.synced.message, maxMessage))
	}
	x.settle(false)
	x.m.hold()
	// What the cluster has beside Git tells nobody when it changes.
	x.m.expire(x.now.Add(lookAgain))
	return &result{finding: f}
}
