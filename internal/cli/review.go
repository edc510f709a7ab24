package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/engine/review"
	"mizzen.dev/mizzen/internal/render"
	"mizzen.dev/mizzen/internal/report"
	"mizzen.dev/mizzen/internal/source/dir"
	"mizzen.dev/mizzen/internal/source/git"
)

// reviewFlags are those of plan --base.
type reviewFlags struct {
	base         string
	head         string
	comment      bool
	cluster      string
	context      contextOfMesh
	capabilities render.Capabilities
}

func (f *reviewFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.base, "base", "", "review what changed since this revision, such as origin/main, without a cluster")
	flags.StringVar(&f.head, "head", "", "with --base: review this revision (default: the files as they are)")
	f.context.register(cmd, "with --base: ")
	flags.StringVar(&f.cluster, "cluster", "", "with --live: the cluster or environment of the repository that it is, if the repository is for several")
	flags.BoolVar(&f.comment, "comment", false, "with --base: in a CI job, keep a comment of the pull request and the commit status mizzen/plan up to date")
	flags.StringVar(&f.capabilities.KubeVersion, "kube-version", "", "with --base: Kubernetes version that charts see")
	flags.StringSliceVar(&f.capabilities.APIVersions, "api-versions", nil, "with --base: API versions that charts see, as group/version or group/version/Kind")
}

// checkReview refuses flags that a review has no use for.
func (o planOptions) checkReview(args []string) error {
	switch {
	case o.review.base == "" && o.review.head != "":
		return errors.New("--head is the other end of --base: name a base, such as --base origin/main")
	case o.review.base == "" && o.review.comment:
		return errors.New("--comment tells a pull request of a review: name a base, such as --base origin/main")
	case o.review.base == "":
		return o.review.checkMesh()
	case o.all:
		return errors.New("--base reviews all applications of the repository: leave out --all")
	case o.file != "":
		return errors.New("--out writes a plan for 'mizzen sync', and --base makes none: use -o json")
	case o.content.revision != "":
		return errors.New("--base takes --head in the place of --revision")
	case o.content.local != "" && len(args) > 0:
		return fmt.Errorf("%q and --local exclude each other with --base: name the directory alone", args[0])
	}
	return o.review.checkMesh()
}

// checkMesh refuses flags about a mesh that is not looked at.
func (f reviewFlags) checkMesh() error {
	switch {
	case f.base == "" && f.context != (contextOfMesh{}):
		return errors.New("--live and --mesh-config are about a whole mesh: name a base, such as --base origin/main")
	case f.base == "" && (f.capabilities.KubeVersion != "" || len(f.capabilities.APIVersions) > 0):
		return errors.New("a cluster says itself what charts see of it: leave out --kube-version and --api-versions, or name a --base")
	case f.cluster != "" && !f.context.complete:
		return errors.New("--cluster says which one a live cluster is: add --live")
	}
	return nil
}

// runReview compares two revisions of the clone that the user stands in, and
// tells the pull request of it.
func (a *app) runReview(ctx context.Context, args []string, o planOptions) error {
	pull, err := pullRequestOf(o.review)
	if err != nil {
		return err
	}
	r, err := a.review(ctx, args, o)
	if err != nil {
		if ctx.Err() != nil {
			err = tooLate(ctx)
		}
		return errors.Join(err, pull.failed(ctx))
	}
	if err := a.showReview(r, o.output); err != nil {
		return err
	}
	answered := reviewAnswer(r, o.failOn)
	if err := pull.tell(ctx, r, answered != nil); err != nil {
		return err
	}
	return answered
}

func (a *app) review(ctx context.Context, args []string, o planOptions) (*mizzen.Review, error) {
	d, err := a.desk()
	if err != nil {
		return nil, err
	}
	defer d.close()
	return d.review(ctx, args, o)
}

func (d *desk) review(ctx context.Context, args []string, o planOptions) (*mizzen.Review, error) {
	request, err := d.revisions(ctx, args, o)
	if err != nil {
		return nil, err
	}
	if d.traffic.MeshConfig, err = o.review.context.settings(); err != nil {
		return nil, err
	}
	if request.Live, err = o.review.context.live(ctx, d.app, o.review.cluster); err != nil {
		return nil, err
	}
	reviewer := review.Reviewer{Renderer: d.engine.Renderer, Traffic: d.traffic, Analyzer: d.traffic}
	return reviewer.Review(ctx, request)
}

// revisions opens both ends of a review.
func (d *desk) revisions(ctx context.Context, args []string, o planOptions) (review.Request, error) {
	at := cmp.Or(o.content.local, ".")
	if len(args) > 0 {
		at = args[0]
	}
	opened, err := dir.Open(ctx, at, git.Options{})
	if err != nil {
		return review.Request{}, err
	}
	d.closers = append(d.closers, opened.Close)
	if opened.Clone == nil {
		return review.Request{}, &mizzen.Error{Kind: mizzen.Invalid, Object: at, Err: git.ErrNoClone, Remedy: "change to a clone of the repository"}
	}
	request := review.Request{Head: opened.Snapshot, Capabilities: o.review.capabilities}
	request.Capabilities.APIVersions = sorted(request.Capabilities.APIVersions)
	if url, err := opened.Clone.OriginURL(ctx); err == nil && url != "" {
		request.Remotes = []string{url}
	}
	if len(args) > 0 {
		request.Directory = opened.Path
	}
	if err := ends(ctx, opened.Clone, o.review, &request); err != nil {
		return review.Request{}, err
	}
	fmt.Fprintf(d.app.Err, "comparing %s with %s, where it parted from %s\n",
		request.Head.Commit().Short(), request.Base.Commit().Short(), report.Plain(o.review.base))
	return request, nil
}

// ends fills in both revisions: the head, if one is named, and the commit at
// which it parted from the base.
func ends(ctx context.Context, clone *git.Local, f reviewFlags, request *review.Request) error {
	if f.head != "" {
		head, err := clone.Snapshot(ctx, f.head)
		if err != nil {
			return err
		}
		request.Head = head
	}
	parted, err := clone.MergeBase(ctx, f.base, cmp.Or(f.head, "HEAD"))
	if err != nil {
		return err
	}
	if request.Base, err = clone.Snapshot(ctx, parted.ID); err != nil {
		return err
	}
	request.Guard, err = clone.Snapshot(ctx, f.base)
	return err
}

func (a *app) showReview(r *mizzen.Review, o outputFlag) error {
	switch o.format {
	case "markdown":
		return report.ReviewMarkdown(a.Out, r)
	case "sarif":
		return report.ReviewSARIF(a.Out, r, version())
	case "github":
		return report.GitHub(a.Out, report.ReviewFindings(r))
	}
	return o.write(a.Out, "review", r, func() error { return report.ReviewText(a.Out, r, a.style()) })
}

// reviewAnswer is no if something is as bad as --fail-on, or worse. What must
// not be synced as it is counts for all values but none.
func reviewAnswer(r *mizzen.Review, on string) error {
	decision := mizzen.Allow
	if r.Verdict != nil {
		decision = r.Verdict.Decision
	}
	bad := r.Fatal()
	switch on {
	case "none":
		return nil
	case "deny":
		bad = bad || decision == mizzen.Deny
	case "approval":
		bad = bad || decision != mizzen.Allow
	case "change":
		bad = bad || decision != mizzen.Allow || r.Changed()
	}
	if bad {
		return answer(ExitNo)
	}
	return nil
}
