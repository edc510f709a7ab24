package review

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/policy"
	"mizzen.dev/mizzen/internal/policy/owners"
)

// maxFiles bounds the files that policy is told of, beside those of the guard,
// and maxWalked the names that are compared to find them.
const (
	maxFiles  = 10_000
	maxWalked = 1_000_000
)

// guard is the revision whose policy and owners judge.
func (x *run) guard() mizzen.Snapshot {
	if x.request.Guard != nil {
		return x.request.Guard
	}
	return x.request.Base
}

// rule has policy judge the Review.
func (x *run) rule(ctx context.Context) error {
	guard, err := x.policy()
	if err != nil {
		return err
	}
	owned, err := owners.Find(x.guard(), owners.Auto)
	if err != nil {
		return err
	}
	changed, err := x.files(ctx)
	if err != nil {
		return err
	}
	files := changed.names
	if guard.mended {
		// Whoever mends the policy decides on it, also in a Review of one
		// Application, which does not read that file.
		files = append(slices.Clone(files), policy.FileName)
	}
	mizzen.SortEffects(x.review.Effects)
	in := &policy.Input{
		Items:   x.judged(),
		Effects: x.review.Effects, EffectsUnknown: x.review.EffectsUnknown, Files: files, FilesOmitted: changed.omitted,
		Unreadable: guard.unreadable, Owners: owned,
	}
	if len(in.Effects) > 0 {
		in.Where = policy.NewPlaces(x.before.all(), x.after.all()).Where
	}
	verdict := guard.Judge(ctx, in)
	x.review.Verdict = &verdict
	return nil
}

// judged are the Items as policy sees them.
func (x *run) judged() []policy.Item {
	var items []policy.Item
	for _, f := range x.review.Findings {
		// What is not looked into has a name, by which scopes select it.
		items = append(items, policy.Item{Application: nameOf(f), Findings: []mizzen.Finding{f}})
	}
	for i := range x.review.Items {
		item := &x.review.Items[i]
		judged := policy.Item{Application: item.Application, Changes: item.Changes, Findings: item.Findings}
		if item.Broken() {
			judged.Failed = item.Failed
		}
		items = append(items, judged)
	}
	return items
}

// nameOf is the Application that a Finding about the repository is about, if it
// is about one that is not looked into.
func nameOf(f mizzen.Finding) string {
	if f.Code != mizzen.CodeUnseen {
		return ""
	}
	return f.Ref.Namespace + "/" + f.Ref.Name
}

// changedFiles are the names of files, sorted; omitted tells that there are more.
type changedFiles struct {
	names   []string
	omitted bool
}

// files are those that differ between the two sides and count.
func (x *run) files(ctx context.Context) (*changedFiles, error) {
	if x.changed == nil {
		names, omitted, err := differing(ctx, x.before.snapshot, x.after.snapshot, x.reads())
		if err != nil {
			return nil, err
		}
		x.changed = &changedFiles{names, omitted}
	}
	return x.changed, nil
}

// all are the objects of every Application, sorted, so that what is found first
// is the same each time.
func (s *side) all() []mizzen.Object {
	var all []mizzen.Object
	for _, d := range s.apps {
		all = append(all, d.objects...)
	}
	mizzen.SortObjects(all)
	return all
}

// guarding is the policy that judges.
type guarding struct {
	*policy.Policy
	// unreadable says why a policy file cannot be read, so that nothing passes.
	unreadable *mizzen.Finding
	// mended: the file cannot be read, and that of the head judges in its place.
	mended bool
}

// policy reads the policy file of the base, and that of the head if it is
// another one. Where the first cannot be read, its rules cannot be asked, and
// nothing passes: a file that breaks after its rules were agreed to must not take
// them away. A change that mends it is judged by what it brings, and needs
// approval for that, or else nobody could mend it by a pull request.
func (x *run) policy() (guarding, error) {
	guard, err := policyOf(x.guard())
	if err != nil && !blamesFile(err) {
		return guarding{}, err
	}
	head, headErr := guard, error(nil)
	changes := x.changesPolicy()
	if changes {
		head, headErr = policyOf(x.after.snapshot)
	}
	switch {
	case err != nil && changes && headErr == nil:
		x.find(policyFinding(mizzen.Warning, "the policy of the base cannot be read, and the change mends it: ", err))
		return guarding{Policy: head.Mending(), mended: true}, nil
	case err != nil:
		x.find(policyFinding(mizzen.Warning, "the policy of the base cannot be read: ", err))
		f := policyFinding(mizzen.Warning, "", err)
		return guarding{Policy: policy.Default(), unreadable: &f}, nil
	case headErr != nil:
		f := policyFinding(mizzen.Fatal, "", headErr)
		x.find(f)
		return guarding{Policy: guard, unreadable: &f}, nil
	}
	return guarding{Policy: guard}, nil
}

// find adds a Finding, unless it is there.
func (x *run) find(f mizzen.Finding) {
	x.review.Findings = append(x.review.Findings, news(x.review.Findings, []mizzen.Finding{f})...)
}

// changesPolicy tells whether the policy file is another one at the head.
func (x *run) changesPolicy() bool {
	was, wasErr := x.before.snapshot.ID(policy.FileName)
	is, isErr := x.after.snapshot.ID(policy.FileName)
	return was != is || (wasErr == nil) != (isErr == nil)
}

func blamesFile(err error) bool {
	return mizzen.KindOf(err) == mizzen.Invalid || mizzen.KindOf(err) == mizzen.TooLarge
}

func policyOf(s mizzen.Snapshot) (*policy.Policy, error) {
	b, err := s.ReadFile(policy.FileName)
	if errors.Is(err, fs.ErrNotExist) {
		return policy.Default(), nil
	}
	if err != nil {
		return nil, err
	}
	return policy.Parse(policy.FileName, b)
}

func policyFinding(severity mizzen.Severity, before string, err error) mizzen.Finding {
	f := mizzen.Finding{
		Code: mizzen.CodeNotJudged, Severity: severity, Message: before + err.Error(), Origin: mizzen.Origin{File: policy.FileName},
	}
	var e *mizzen.Error
	if errors.As(err, &e) && e.Err != nil {
		f.Message, f.Remedy = before+e.Err.Error(), e.Remedy
		if e.Origin.File != "" {
			f.Origin = e.Origin
		}
	}
	return f
}

// differing lists the files that differ between two Snapshots and that count,
// sorted. What is equal is not descended into. Of many files the last are left
// out, which omitted says, but never those of the guard: a change must not hide
// that it touches them.
func differing(ctx context.Context, before, after mizzen.Snapshot, counts func(name string) bool) (files []string, omitted bool, err error) {
	d := difference{before: before, after: after, counts: counts}
	for _, name := range append(policy.GuardFiles(), ".") {
		if !isThere(before, name) && !isThere(after, name) {
			continue
		}
		if err := d.walk(ctx, name); err != nil {
			return nil, false, fmt.Errorf("compare the files: %w", err)
		}
	}
	slices.Sort(d.files)
	return slices.Compact(d.files), d.omitted, nil
}

func isThere(s mizzen.Snapshot, name string) bool {
	_, err := s.Stat(name)
	return err == nil
}

// difference collects the files that differ.
type difference struct {
	before, after mizzen.Snapshot
	counts        func(name string) bool
	files         []string
	walked        int
	// omitted: a bound was met.
	omitted bool
}

func (d *difference) walk(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil || d.omitted {
		return err
	}
	d.walked++
	was, wasErr := d.before.ID(name)
	is, isErr := d.after.ID(name)
	if wasErr == nil && isErr == nil && was == is {
		return nil
	}
	entries, err := entriesOf(d.before, d.after, name)
	if err != nil {
		return err
	}
	if entries == nil {
		d.add(name)
		return nil
	}
	for _, e := range entries {
		if err := d.walk(ctx, path.Join(name, e)); err != nil {
			return err
		}
	}
	return nil
}

func (d *difference) add(name string) {
	switch {
	case !d.counts(name):
	case len(d.files) >= maxFiles+len(policy.GuardFiles()), d.walked > maxWalked:
		d.omitted = true
	default:
		d.files = append(d.files, name)
	}
}

// entriesOf are the names in a directory of either Snapshot; nil if it is a
// file of both, or of the one that has it.
func entriesOf(before, after mizzen.Snapshot, name string) ([]string, error) {
	var names []string
	directory := false
	for _, s := range []mizzen.Snapshot{before, after} {
		info, err := s.Stat(name)
		if err != nil || !info.IsDir() {
			continue // it is a file, or it is not there
		}
		directory = true
		entries, err := s.ReadDir(name)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
	}
	if !directory {
		return nil, nil
	}
	slices.Sort(names)
	return append([]string{}, slices.Compact(names)...), nil
}
