package engine

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/diff"
	"mizzen.dev/mizzen/internal/lint"
	"mizzen.dev/mizzen/internal/lint/mesh"
	"mizzen.dev/mizzen/internal/live"
	"mizzen.dev/mizzen/internal/observe"
	"mizzen.dev/mizzen/internal/render"
	"mizzen.dev/mizzen/internal/source"
	"mizzen.dev/mizzen/internal/traffic/release"
)

// Plan renders the target and says what a sync would do, without a write. It
// fails with a StageError if the sources cannot be rendered or the cluster
// cannot be read; what is wrong with single objects is in the Plan's Findings.
func (e *Engine) Plan(ctx context.Context, t Target) (*Planned, error) {
	p, objects, err := e.draft(ctx, t)
	if err != nil {
		return nil, err
	}
	spanned, end := observe.Span(ctx, observe.Diff)
	err = e.compare(spanned, p, objects)
	end(err)
	if err != nil {
		return nil, &StageError{StageRead, err}
	}
	if p.remade() {
		// One object with new values beside others with the old ones, such as a
		// certificate beside another's key, is worse than new values for all.
		t.RenderKey, t.Only, t.Suspects = "", false, nil
		return e.Plan(ctx, t)
	}
	p.finish()
	if mizzen.Worst(p.Findings) == mizzen.Fatal && !t.Options.FieldOrigins {
		// Somebody is going to look for the line. What is fine costs no search.
		t.Options.FieldOrigins = true
		return e.Plan(ctx, t)
	}
	return p, nil
}

// draft renders the target and prepares its objects, without a look at the
// live ones.
func (e *Engine) draft(ctx context.Context, t Target) (*Planned, []mizzen.Object, error) {
	out, err := e.render(ctx, &t)
	if err != nil {
		return nil, nil, err
	}
	if n := len(t.applied()); len(out.Output.Objects) == 0 && n > 0 && !t.Policy.AllowEmpty {
		return nil, nil, &StageError{StageEmpty, &mizzen.Error{
			Kind: mizzen.Invalid, Object: "application " + t.Name.String(),
			Err:    fmt.Errorf("path %q renders nothing at %s, where %d objects are synced", t.Options.Path, t.Snapshot.Commit().Short(), n),
			Remedy: "restore the manifests, or set spec.sync.allowEmpty to delete everything",
		}}
	}
	problems, err := source.Problems(ctx, t.Snapshot, append(out.Key.Elsewhere(), t.Options.Path)...)
	if err != nil {
		return nil, nil, &StageError{StageRender, err}
	}
	objects, findings, err := e.prepare(ctx, t, t.restrict(out.Output.Objects))
	if err != nil {
		return nil, nil, &StageError{StageValidate, err}
	}
	p := &Planned{
		Plan: &mizzen.Plan{
			Schema: mizzen.PlanSchema, Application: t.Name, Cluster: t.Destination.Name, Commit: t.Snapshot.Commit(),
			Findings: slices.Concat(problems, out.Output.Findings, findings),
		},
		Key: out.Key, Nondeterministic: out.Output.Nondeterministic,
		target: t, kept: Inventory{}, objects: make(map[mizzen.Ref]mizzen.Object, len(objects)),
	}
	for _, o := range objects {
		p.objects[o.Ref()] = o
	}
	if t.Only {
		p.keepOthers()
	}
	return p, objects, nil
}

func (e *Engine) render(ctx context.Context, t *Target) (*render.Result, error) {
	caps, err := e.capabilities(ctx, t.Destination.Cluster)
	if err != nil {
		return nil, &StageError{StageRead, err}
	}
	t.Options.Capabilities = caps
	spanned, end := observe.Span(ctx, observe.Render)
	out, err := e.Renderer.Render(spanned, t.Snapshot, t.Options)
	end(err)
	if err != nil {
		return nil, &StageError{StageRender, source.Explain(ctx, t.Snapshot, err)}
	}
	return out, nil
}

// restrict leaves out objects that are not suspect, if only those count.
// Namespaces are not settled yet at this point, so they do not decide.
func (t Target) restrict(objects []mizzen.Object) []mizzen.Object {
	if !t.Only {
		return objects
	}
	suspect := make(map[mizzen.Ref]bool, len(t.Suspects))
	for ref := range t.Suspects {
		ref.Namespace = ""
		suspect[ref] = true
	}
	var restricted []mizzen.Object
	for _, o := range objects {
		ref := o.Ref()
		if ref.Namespace = ""; suspect[ref] {
			restricted = append(restricted, o)
		}
	}
	return restricted
}

// keepOthers takes over what is not looked at.
func (p *Planned) keepOthers() {
	for ref, known := range p.target.Known {
		if _, looked := p.objects[ref]; !looked {
			p.kept[ref] = known
			p.Unchanged++
		}
	}
}

// prepare gives the objects their final form and checks that form against the
// schemas of the destination.
func (e *Engine) prepare(ctx context.Context, t Target, rendered []mizzen.Object) ([]mizzen.Object, []mizzen.Finding, error) {
	objects, findings, err := diff.Prepare(rendered, diff.PrepareOptions{
		Application: t.Name, Installation: t.Destination.Installation, Namespace: t.Policy.Namespace,
		Scope: func(gvk schema.GroupVersionKind) (namespaced, known bool) {
			r, err := t.Destination.Cluster.Resource(ctx, gvk)
			return r.Namespaced, err == nil
		},
	})
	if err != nil {
		return nil, nil, err
	}
	spanned, end := observe.Span(ctx, observe.Lint)
	checked, err := t.check(spanned, objects)
	end(err)
	return objects, append(findings, checked...), err
}

// check returns what is wrong with the objects by themselves: with their form,
// and with what they mean to the mesh together. Other Applications may have
// what is missing here.
func (t Target) check(ctx context.Context, objects []mizzen.Object) ([]mizzen.Finding, error) {
	findings, err := lint.Check(ctx, objects, t.Destination.Schemas)
	if err != nil {
		return nil, err
	}
	meant, err := mesh.Check(ctx, objects, mesh.Known{})
	findings = append(append(findings, meant...), release.Findings(objects)...)
	mizzen.SortFindings(findings)
	shown, _ := lint.Suppress(findings, objects)
	return shown, err
}

// compare fills in the changes: of what is rendered, then of what is not any
// more.
func (e *Engine) compare(ctx context.Context, p *Planned, objects []mizzen.Object) error {
	open, err := p.settle(ctx, objects)
	if err != nil {
		return err
	}
	changes, err := p.judgeAll(ctx, open)
	if err != nil {
		return err
	}
	if p.target.Only {
		p.Changes = append(p.Changes, changes...)
		return nil
	}
	gone, err := p.prune(ctx)
	if err != nil {
		return err
	}
	namespace, err := p.namespace(ctx)
	if err != nil {
		return err
	}
	p.Changes = append(append(append(p.Changes, namespace...), changes...), gone...)
	return nil
}

// finish sorts, counts and digests.
func (p *Planned) finish() {
	changes := p.Changes[:0]
	for _, c := range p.Changes {
		if c.Action == mizzen.None {
			p.Unchanged++
			continue
		}
		changes = append(changes, c)
	}
	p.Changes = changes
	mizzen.SortChanges(p.Changes)
	mizzen.SortFindings(p.Findings)
	p.Digest = p.ComputeDigest()
}

// candidate is an object that may differ from what the cluster has.
type candidate struct {
	object  mizzen.Object
	content string
}

func (c candidate) gvk() schema.GroupVersionKind { return c.object.GroupVersionKind() }

func (c candidate) target() live.Target {
	return live.Target{Kind: c.gvk(), Namespace: c.object.GetNamespace(), Name: c.object.GetName()}
}

// settle sorts out what needs no look at the whole object: what the inventory
// and the metadata agree on, and kinds that the cluster does not know.
func (p *Planned) settle(ctx context.Context, objects []mizzen.Object) ([]candidate, error) {
	candidates := make([]candidate, 0, len(objects))
	for _, o := range objects {
		candidates = append(candidates, candidate{o, diff.ContentHash(o.Unstructured, p.target.Destination.Masker)})
	}
	entries, err := p.entries(ctx, candidates)
	if err != nil {
		return nil, err
	}
	var open []candidate
	for _, c := range candidates {
		ref := c.object.Ref()
		if p.settled(c, entries[ref]) {
			p.kept[ref] = p.target.Known[ref]
			p.Unchanged++
			p.Findings = append(p.Findings, mentions(c.object, entries[ref].strangers)...)
			continue
		}
		skipped, err := p.skipUnknown(ctx, c, objects)
		if err != nil {
			return nil, err
		}
		if !skipped {
			open = append(open, c)
		}
	}
	return open, nil
}

// settled tells whether both hashes of the inventory still hold.
func (p *Planned) settled(c candidate, entry entry) bool {
	known, synced := p.target.Known[c.object.Ref()]
	if !synced || known.Managed == "" || entry.managed != known.Managed || entry.owner != p.target.Name || entry.foreign {
		return false
	}
	return c.content != "" && c.content == known.Content || p.Nondeterministic && p.target.RenderKey == p.Key.Identity()
}

// remade tells whether the Plan writes values that were made up anew although
// no input changed: the rendering that was applied last is lost, as by a new
// leader without the old one's state directory.
func (p *Planned) remade() bool {
	if !p.Nondeterministic || p.target.RenderKey != p.Key.Identity() {
		return false
	}
	return slices.ContainsFunc(p.Changes, func(c mizzen.Change) bool {
		known, synced := p.target.Known[c.Ref]
		return synced && c.Desired != nil && c.Action.Writes() && c.Content != "" && known.Content != "" && c.Content != known.Content
	})
}

// skipUnknown leaves out an object whose kind the cluster does not know, and
// plans it unseen if the same commit brings the kind along.
func (p *Planned) skipUnknown(ctx context.Context, c candidate, objects []mizzen.Object) (bool, error) {
	_, err := p.target.Destination.Cluster.Resource(ctx, c.gvk())
	if err == nil {
		return false, nil
	}
	if mizzen.KindOf(err) != mizzen.NotFound {
		return false, err
	}
	if diff.DefinesKind(objects, c.gvk()) {
		p.Changes = append(p.Changes, p.compareObject(c, nil, nil, "its CustomResourceDefinition is in the same commit"))
		return true, nil
	}
	change := p.compareObject(c, nil, nil, "")
	change.Action, change.Desired, change.NotVerified = mizzen.Skip, nil, ""
	change.Reason = "SkippedMissingCRD: the cluster does not know " + c.gvk().GroupKind().String()
	p.Changes = append(p.Changes, change)
	severity := mizzen.Warning
	if change.Options.SkipMissingCRD {
		severity = mizzen.Info
	}
	p.find(mizzen.CodeSkippedMissingCRD, severity, c.object, "the cluster does not know the kind "+c.gvk().String(),
		"install its CustomResourceDefinition; the object is applied when it appears")
	return true, nil
}

func (p *Planned) compareObject(c candidate, current, after *unstructured.Unstructured, notVerified string, release ...mizzen.Path) mizzen.Change {
	return diff.Compare(c.object, current, after, diff.CompareOptions{
		Manager: p.manager(), Masker: p.target.Destination.Masker, NotVerified: notVerified, Release: release,
	})
}

func (p *Planned) manager() string { return mizzen.Manager(p.target.Destination.Installation) }

func (p *Planned) find(code mizzen.Code, severity mizzen.Severity, o mizzen.Object, message, remedy string) {
	p.Findings = append(p.Findings, mizzen.Finding{
		Code: code, Severity: severity, Ref: o.Ref(), Origin: o.Origins.Object, Message: message, Remedy: remedy,
	})
}

// current reads the candidates that exist.
func (p *Planned) current(ctx context.Context, open []candidate) (map[mizzen.Ref]*unstructured.Unstructured, error) {
	var known, fresh []live.Target
	for _, c := range open {
		if _, synced := p.target.Known[c.object.Ref()]; synced || p.target.Careful {
			known = append(known, c.target())
		} else {
			fresh = append(fresh, c.target())
		}
	}
	absent := p.target.Destination.Cluster.Absent(ctx, fresh)
	for _, t := range fresh {
		if !absent[t.Ref()] {
			known = append(known, t)
		}
	}
	return p.target.Destination.Cluster.Objects(ctx, known)
}

// dryRuns is how many requests one Plan has under way at once.
const dryRuns = 8

// judgeAll compares every candidate with what is live.
func (p *Planned) judgeAll(ctx context.Context, open []candidate) ([]mizzen.Change, error) {
	current, err := p.current(ctx, open)
	if err != nil {
		return nil, err
	}
	direct := p.mayBeDirect(open)
	judged := make([]judgement, len(open))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(dryRuns)
	for i, c := range open {
		g.Go(func() error {
			var err error
			judged[i], err = p.judge(ctx, c, current[c.object.Ref()], direct)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	changes := make([]mizzen.Change, 0, len(open))
	for i, j := range judged {
		changes = append(changes, j.change)
		p.Findings = append(p.Findings, j.findings...)
		if j.change.Action == mizzen.None && !j.foreign {
			ref := open[i].object.Ref()
			p.kept[ref] = Entry{Version: open[i].gvk().Version, Content: open[i].content, Managed: j.managed}
		}
	}
	return changes, nil
}
