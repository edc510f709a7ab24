package review

import (
	"context"
	"maps"
	"reflect"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/diff"
	"mizzen.dev/mizzen/internal/engine"
	"mizzen.dev/mizzen/internal/lint"
	"mizzen.dev/mizzen/internal/source"
)

// same tells whether the other side has the very same objects.
func (d *deployed) same() bool {
	t := d.twin
	return t != nil && d.Namespace == t.Namespace && reflect.DeepEqual(d.Select, t.Select) && maps.Equal(d.Substitute, t.Substitute) &&
		(d.Substitute == nil) == (t.Substitute == nil)
}

// compare fills in the items.
func (x *run) compare(ctx context.Context) error {
	ids := slices.Collect(maps.Keys(x.after.apps))
	for id := range x.before.apps {
		if x.after.apps[id] == nil {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	for _, id := range ids {
		before, after := x.before.apps[id], x.after.apps[id]
		if before != nil && before.same() {
			x.review.Unchanged++
			continue
		}
		item, err := x.item(ctx, before, after)
		if err != nil {
			return err
		}
		if item.Action == mizzen.Update && len(item.Changes)+len(item.Findings) == 0 && item.Failed == "" && item.FailedBefore == "" {
			x.review.Unchanged++
			continue
		}
		x.review.Items = append(x.review.Items, item)
	}
	return nil
}

// item compares one Application; one of the two may be nil.
func (x *run) item(ctx context.Context, before, after *deployed) (mizzen.ReviewItem, error) {
	app, action := after, mizzen.Update
	switch {
	case after == nil:
		app, action = before, mizzen.Delete
	case before == nil:
		action = mizzen.Create
	}
	item := mizzen.ReviewItem{
		Application: app.Name, Kind: app.Kind(), Cluster: app.Mesh(), Path: app.Path(), Action: action, Origin: app.Origin,
	}
	found, err := x.findings(ctx, x.after, after)
	if err != nil {
		return item, err
	}
	known, err := x.findings(ctx, x.before, before)
	if err != nil {
		return item, err
	}
	item.Findings = news(known, found)
	item.Failed, item.FailedBefore = failure(after), failure(before)
	if item.Failed != "" || item.FailedBefore != "" {
		return item, x.unseenIn(ctx, &item, before, after)
	}
	item.Changes, item.Unchanged = x.changes(before, after)
	return item, nil
}

func failure(d *deployed) string {
	if d == nil || d.err == nil {
		return ""
	}
	return d.err.Error()
}

// findings is all that is to be said about one Application.
func (x *run) findings(ctx context.Context, s *side, d *deployed) ([]mizzen.Finding, error) {
	if d == nil {
		return nil, nil
	}
	all := slices.Clone(d.findings)
	var names []string
	for i, p := range d.Parts {
		names = append(names, p.Options.Path)
		if i < len(d.results) {
			names = append(names, d.results[i].Key.Elsewhere()...)
		}
	}
	problems, err := source.Problems(ctx, s.of(d), names...)
	if err != nil {
		return nil, err
	}
	all = append(all, problems...)
	if d.err != nil {
		f, ok := engine.RenderFinding(d.Path(), d.err)
		if !ok {
			f = mizzen.Finding{Code: mizzen.CodeRenderFailed, Severity: mizzen.Fatal, Message: d.err.Error(), Origin: mizzen.Origin{File: d.Path()}}
		}
		return append(all, f), nil
	}
	checked, err := lint.Check(ctx, d.objects, lint.Offline())
	shown, _ := lint.Suppress(append(all, checked...), d.objects)
	return shown, err
}

// news returns what is found and was not known. The line does not count, since
// it moves with what is written above.
func news(known, found []mizzen.Finding) []mizzen.Finding {
	type identity struct {
		code    mizzen.Code
		ref     mizzen.Ref
		path    mizzen.Path
		message string
	}
	id := func(f mizzen.Finding) identity { return identity{f.Code, f.Ref, f.Path, f.Message} }
	seen := map[identity]bool{}
	for _, f := range known {
		seen[id(f)] = true
	}
	var fresh []mizzen.Finding
	for _, f := range found {
		if !seen[id(f)] {
			seen[id(f)] = true
			fresh = append(fresh, f)
		}
	}
	return fresh
}

// changes compares the objects of the two sides.
func (r *Reviewer) changes(before, after *deployed) ([]mizzen.Change, int) {
	had := map[mizzen.Ref]mizzen.Object{}
	if before != nil {
		for _, o := range before.objects {
			had[o.Ref()] = o
		}
	}
	var all []mizzen.Change
	unchanged := 0
	if after != nil {
		for _, o := range after.objects {
			ref := o.Ref()
			c := r.change(had[ref], o)
			delete(had, ref)
			if c.Action == mizzen.None || c.Action == mizzen.Skip {
				unchanged++
				continue
			}
			all = append(all, c)
		}
	}
	for _, o := range had {
		all = append(all, gone(o, before, after))
	}
	return all, unchanged
}

// change is what happens to one object; before is zero if there was none.
func (r *Reviewer) change(before, after mizzen.Object) mizzen.Change {
	var live *unstructured.Unstructured
	if before.Unstructured != nil {
		live = before.Unstructured
	}
	// What the API server would make of it is not known, and need not be: both
	// sides are as Git has them.
	c := diff.Compare(after, live, after.Unstructured, diff.CompareOptions{Manager: mizzen.Manager(""), Masker: r.Masker})
	if live != nil && c.APIVersion != live.GetAPIVersion() {
		c.Action = mizzen.Update
		c.Fields = append([]mizzen.FieldChange{{
			Path: "apiVersion", Before: live.GetAPIVersion(), After: c.APIVersion, Origin: after.Origins.Of("apiVersion"),
		}}, c.Fields...)
	}
	for i := range c.Fields {
		if f := &c.Fields[i]; f.After == nil {
			f.Origin = before.Origins.Of(f.Path) // the line that was there
		}
	}
	return c
}

// gone is what becomes of an object that left Git.
func gone(o mizzen.Object, before, after *deployed) mizzen.Change {
	options, _ := mizzen.OptionsOf(o.Unstructured)
	c := mizzen.Change{
		Ref: o.Ref(), APIVersion: o.GetAPIVersion(), Action: mizzen.Delete, Origin: o.Origins.Object, Wave: options.Wave, Options: options,
	}
	switch {
	case after == nil && before.Orphan:
		c.Action, c.Reason = mizzen.Keep, "the application leaves its objects running"
	case after == nil && options.KeepOnDelete, after != nil && options.KeepOnPrune:
		c.Action, c.Reason = mizzen.Keep, "the object asks to be kept"
	case after != nil && !after.Prune:
		c.Action, c.Reason = mizzen.Keep, "the application does not prune"
	}
	return c
}
