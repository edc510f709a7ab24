package review

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/engine/discover"
	"mizzen.dev/mizzen/internal/policy"
	"mizzen.dev/mizzen/internal/policy/owners"
	"mizzen.dev/mizzen/internal/render"
)

// Single asks what a revision does to one Application.
type Single struct {
	Application *discover.Application
	// Base is what is synced, Head what is to be.
	Base, Head mizzen.Snapshot
	// Others are the Applications of the same mesh, which stay as they are.
	Others []Neighbor
	// Live completes both sides by what the cluster has and Git does not hold;
	// nil: only what Git holds counts.
	Live *Live
	// Capabilities are what charts see of the cluster.
	Capabilities render.Capabilities
}

// Neighbor is an Application beside the one that is reviewed, and where it is
// read.
type Neighbor struct {
	*discover.Application
	At mizzen.Snapshot
}

// Single reviews one Application. The policies of both revisions judge, so that
// a change neither loosens its own guard nor escapes a newer one. It fails if one
// side of the Application cannot be rendered, since then nothing is known.
func (r *Reviewer) Single(ctx context.Context, s Single) (*mizzen.Review, error) {
	x := &run{
		Reviewer: r, request: Request{Base: s.Base, Head: s.Head, Guard: s.Base, Capabilities: s.Capabilities, Live: s.Live},
		before: newSide(s.Base, nil), after: newSide(s.Head, nil), single: true,
		review: &mizzen.Review{Base: s.Base.Commit(), Head: s.Head.Commit()},
	}
	if err := x.renderSingle(ctx, s); err != nil {
		return nil, err
	}
	for _, step := range []func(context.Context) error{x.prepare, x.compare, x.judge, x.ruleTwice} {
		if err := step(ctx); err != nil {
			return nil, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	x.review.Finish()
	return x.review, nil
}

// renderSingle renders both sides of the Application, and each of the others
// once.
func (x *run) renderSingle(ctx context.Context, s Single) error {
	id := s.Application.ID()
	before, after := &deployed{Application: s.Application}, &deployed{Application: s.Application}
	x.before.apps[id], x.after.apps[id] = before, after
	g, within := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0) + 1)
	one := func(side *side, d *deployed, exact bool) {
		g.Go(func() error {
			x.render(within, side, d, exact)
			return within.Err()
		})
	}
	one(x.before, before, true)
	one(x.after, after, true)
	for _, n := range s.Others {
		d := &deployed{Application: n.Application, at: n.At}
		if n.ID() != id && x.after.apps[n.ID()] == nil {
			x.after.apps[n.ID()] = d
			one(x.after, d, false)
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for other, d := range x.after.apps {
		if other != id {
			x.before.apps[other] = &deployed{
				Application: d.Application, at: d.at, results: d.results, exact: d.exact, err: d.err, twin: d,
			}
		}
	}
	return errors.Join(unrendered(s.Base, before), unrendered(s.Head, after))
}

func unrendered(s mizzen.Snapshot, d *deployed) error {
	if d.err == nil {
		return nil
	}
	return fmt.Errorf("%s cannot be rendered: %w", s.Commit().Short(), d.err)
}

// reads tells of a file whether it counts: to a Review of one Application those
// do that it reads.
func (x *run) reads() func(name string) bool {
	if !x.single {
		return func(string) bool { return true }
	}
	before, after := x.before.readers(), x.after.readers()
	mine := func(d *deployed) bool { return d.at == nil }
	return func(name string) bool {
		return slices.ContainsFunc(before.of(name), mine) || slices.ContainsFunc(after.of(name), mine)
	}
}

// ruleTwice has the policy of both revisions judge, if they differ.
func (x *run) ruleTwice(ctx context.Context) error {
	if err := x.rule(ctx); err != nil {
		return err
	}
	if !x.changesPolicy() || !x.readable() {
		return nil
	}
	old := x.review.Verdict
	x.request.Guard = x.request.Head
	if err := x.rule(ctx); err != nil {
		return err
	}
	if !stricter(old.Decision, x.review.Verdict.Decision) {
		return nil
	}
	if old.Decision == mizzen.Deny {
		owned, err := owners.Find(x.request.Base, owners.Auto)
		if err != nil {
			return err
		}
		soften(old, x.review.Verdict.Approvals, owned)
	}
	x.review.Verdict = old
	return nil
}

// readable tells whether there are two policies. Where one of them cannot be read,
// all that can be judged is.
func (x *run) readable() bool {
	_, was := policyOf(x.request.Base)
	_, is := policyOf(x.request.Head)
	return was == nil && is == nil
}

func stricter(a, b mizzen.Decision) bool {
	order := []mizzen.Decision{mizzen.Allow, mizzen.NeedsApproval, mizzen.Deny}
	return slices.Index(order, a) > slices.Index(order, b)
}

// soften makes what only the old policy denies a matter of approval by the
// owners of the policy, besides those whom the new one asks: a policy that was
// mended would otherwise never get in force.
func soften(old *mizzen.Verdict, asked []mizzen.Approval, owned *owners.File) {
	for i := range old.Reasons {
		if r := &old.Reasons[i]; r.Level == mizzen.LevelDeny {
			r.Level = mizzen.LevelApproval
			r.Message += ", which the policy of what runs denies"
		}
	}
	for _, g := range owned.Owners(policy.FileName) {
		asked = append(asked, mizzen.Approval{
			Owners: slices.Sorted(slices.Values(g.Owners)), Count: g.Required, Section: g.Section, For: []string{policy.FileName},
		})
	}
	if len(asked) == 0 {
		asked = []mizzen.Approval{{Count: 1, For: []string{policy.FileName}}}
	}
	mizzen.SortReasons(old.Reasons)
	old.Decide()
	old.Approvals = asked
}
