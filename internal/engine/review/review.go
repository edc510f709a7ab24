// Package review says what the difference of two revisions of a repository
// does, without a cluster: it finds the Applications of both, renders what
// differs, compares the objects, has the effects on traffic found, and has all
// of it judged by the policy of the base.
//
// Two Snapshots come in, a mizzen.Review goes out. What both revisions render
// alike is rendered once, and shared by both sides.
package review

import (
	"context"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/diff"
	"mizzen.dev/mizzen/internal/engine"
	"mizzen.dev/mizzen/internal/engine/discover"
	"mizzen.dev/mizzen/internal/render"
)

// TrafficPlanner says what a change does to requests, security and exposure in
// one mesh. It gets all objects that the repository renders for it, before and
// after, sorted by identity; what is the same on both sides is the same pointer.
// It must not change them.
type TrafficPlanner interface {
	Effects(ctx context.Context, before, after []mizzen.Object) ([]mizzen.Effect, error)
}

// Reviewer makes Reviews. It is safe for concurrent use if its parts are.
type Reviewer struct {
	Renderer *render.Memo
	// Traffic may be nil: then there are no Effects.
	Traffic TrafficPlanner
	// Analyzer may be nil.
	Analyzer engine.Analyzer
	// Masker hides Secret values; the zero value does so altogether.
	Masker diff.Masker
}

// Request is what to review.
type Request struct {
	// Base is where Head parted from the branch that it is going to be merged
	// into; both are of one clone.
	Base, Head mizzen.Snapshot
	// Guard is the tip of that branch: its policy and owners judge, since a
	// change must neither loosen its own guard nor escape a newer one. Nil
	// means Base.
	Guard mizzen.Snapshot
	// Remotes are the addresses of the clone: Applications of other repositories
	// are left out.
	Remotes []string
	// Directory asks for the directories below it, whatever Applications the
	// repository declares; empty: what it declares, or all directories if it
	// declares none.
	Directory string
	// Capabilities are what charts see of the cluster, unless an Application
	// says so itself.
	Capabilities render.Capabilities
	// Live completes both sides of a mesh; nil: only what Git holds counts.
	Live *Live
}

// Live are the objects of a cluster; those that Git holds are not used. They may
// be shared by many Reviews, which do not change them.
type Live struct {
	// Server names the cluster to people.
	Server string
	// Cluster is the cluster or environment of the repository that it is; empty
	// if the repository is for one.
	Cluster string
	Objects []mizzen.Object
	// Leaving are those that go with the change although neither side has them,
	// as what a sync left behind that failed half-way: they are there before, and
	// not after.
	Leaving []mizzen.Ref
}

// run is one Review under way.
type run struct {
	*Reviewer
	request Request
	scanner *discover.Scanner
	scopes  scopes
	before  *side
	after   *side
	review  *mizzen.Review
	// single: the Review is about one Application.
	single bool
	// changed are the files that differ and count; nil until somebody asks.
	changed *changedFiles
	// taken tells whose a file is at either side; nil until somebody asks.
	taken []readers
}

// Review compares the two revisions. An Application that cannot be rendered is
// reported in the Review, and the others are compared. It fails only if a
// Snapshot cannot be read, if Live is of a cluster that the repository does not
// know, or if ctx is done.
func (r *Reviewer) Review(ctx context.Context, request Request) (*mizzen.Review, error) {
	x := &run{
		Reviewer: r, request: request, scanner: discover.NewScanner(),
		before: newSide(request.Base, request.Remotes), after: newSide(request.Head, request.Remotes),
		review: &mizzen.Review{Base: request.Base.Commit(), Head: request.Head.Commit()},
	}
	for _, step := range []func(context.Context) error{
		x.collect, x.sharpen, x.prepare, x.compare, x.beside, x.judge, x.rule,
	} {
		if err := step(ctx); err != nil {
			return nil, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	for _, o := range x.after.omitted {
		x.review.Omitted = append(x.review.Omitted, o.Finding)
	}
	x.review.Omitted = news(nil, x.review.Omitted)
	x.review.Finish()
	return x.review, nil
}
