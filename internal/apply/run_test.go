package apply_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/apply"
)

func (c *cluster) configMap(name, annotations string) mizzen.Object {
	return c.parse(fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, namespace: NS, annotations: {%s}}\ndata: {a: b}", name, annotations))
}

// removal is the change of an object that left Git.
func (c *cluster) removal(obj mizzen.Object, action mizzen.Action) mizzen.Change {
	c.t.Helper()
	live := c.live(obj)
	if live == nil {
		c.t.Fatalf("%s does not exist", obj.Ref())
	}
	options, _ := mizzen.OptionsOf(live)
	return mizzen.Change{
		Ref: obj.Ref(), APIVersion: obj.GetAPIVersion(), Action: action, UID: string(live.GetUID()), Wave: options.Wave, Options: options,
	}
}

// order records the objects that a run reports, in its order.
func order(t testing.TB, c *cluster, p *mizzen.Plan, o apply.RunOptions) ([]string, apply.Outcome) {
	t.Helper()
	var seen []string
	o.Observe = func(change mizzen.Change, _ apply.Result, err error) {
		if err != nil {
			t.Error(err)
		}
		seen = append(seen, change.Ref.Kind+" "+change.Ref.Name)
	}
	out, err := c.writer.Run(t.Context(), p, o)
	must(t, err)
	return seen, out
}

func TestWavesAndStages(t *testing.T) {
	c := start(t)
	var waits []string
	p := c.plan(
		c.configMap("late", `mizzen.dev/sync-wave: "2"`),
		c.parse(deployment),
		c.configMap("plain", ""),
		c.parse("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: sa, namespace: NS}"),
		c.configMap("early", `argocd.argoproj.io/sync-wave: "-1"`),
	)
	got, out := order(t, c, p, apply.RunOptions{Concurrency: 1, Ready: func(ctx context.Context, refs []mizzen.Ref) error {
		if _, ok := ctx.Deadline(); !ok {
			t.Error("no deadline")
		}
		var names []string
		for _, r := range refs {
			names = append(names, r.Name)
		}
		waits = append(waits, strings.Join(names, " "))
		return nil
	}})
	want := []string{"ConfigMap early", "ServiceAccount sa", "ConfigMap plain", "Deployment web", "ConfigMap late"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"early", "sa plain web"}, waits); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(mizzen.Counts{Created: 5}, out.Counts); d != "" {
		t.Error(d)
	}

	var removals []mizzen.Change
	for _, change := range p.Changes {
		removals = append(removals, c.removal(*change.Desired, mizzen.Delete))
	}
	got, out = order(t, c, &mizzen.Plan{Changes: removals}, apply.RunOptions{Concurrency: 1})
	slices.Reverse(want)
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if out.Counts.Deleted != 5 || len(out.Deleted) != 5 {
		t.Errorf("outcome: %+v", out.Counts)
	}
	// Once more: what is gone is no error.
	if _, err := c.writer.Run(t.Context(), &mizzen.Plan{Changes: removals}, apply.RunOptions{}); err != nil {
		t.Error(err)
	}
}

func TestFailureStopsTheRest(t *testing.T) {
	c := start(t)
	gone := c.configMap("gone", "")
	c.sync(gone)
	bad := c.parse("apiVersion: v1\nkind: Service\nmetadata: {name: bad, namespace: NS}\nspec: {ports: [{port: 99999}]}")
	p := c.plan(c.configMap("fine", ""), bad,
		c.parse("apiVersion: v1\nkind: Service\nmetadata: {name: worse, namespace: NS}\nspec: {prots: []}"),
		c.parse("apiVersion: v1\nkind: Service\nmetadata: {name: good, namespace: NS}\nspec: {ports: [{port: 80}]}"),
		c.parse(deployment))
	p.Changes = append(p.Changes, c.removal(gone, mizzen.Delete))
	observed := 0
	out, err := c.writer.Run(t.Context(), p, apply.RunOptions{Observe: func(mizzen.Change, apply.Result, error) { observed++ }})
	if err == nil || len(out.Failed) != 2 || observed != 4 {
		t.Fatalf("outcome: %+v, %v, %d observed", out, err, observed)
	}
	for _, part := range []string{"Service " + c.namespace + "/bad (app.yaml:1)", "99999", "worse", "prots", "correct the manifest"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error lacks %q: %v", part, err)
		}
	}
	if mizzen.KindOf(out.Failed[bad.Ref()]) != mizzen.Invalid {
		t.Errorf("kind: %v", out.Failed[bad.Ref()])
	}
	if c.live(gone) == nil || c.live(c.parse(deployment)) != nil {
		t.Error("the run went on after a failure")
	}
	if c.live(c.parse("apiVersion: v1\nkind: Service\nmetadata: {name: good, namespace: NS}")) == nil {
		t.Error("the rest of the stage was not tried")
	}
}

func TestUnreadyWaveStops(t *testing.T) {
	c := start(t)
	p := c.plan(c.configMap("one", ""), c.configMap("two", `mizzen.dev/sync-wave: "1"`))
	broken := errors.New("still not up")
	run := func(unchanged map[int][]mizzen.Ref) {
		t.Helper()
		_, err := c.writer.Run(t.Context(), p, apply.RunOptions{
			Ready: func(context.Context, []mizzen.Ref) error { return broken }, Unchanged: unchanged,
		})
		if !errors.Is(err, broken) || !strings.Contains(err.Error(), "wave 0") {
			t.Errorf("error: %v", err)
		}
		if c.live(c.configMap("two", "")) != nil {
			t.Error("the next wave began")
		}
	}
	run(nil)
	// The next run finds what the first one wrote as it should be.
	one := p.Changes[0].Ref
	p.Changes = p.Changes[1:]
	run(map[int][]mizzen.Ref{0: {one}})
}

const widgets = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.GROUP}
spec:
  group: GROUP
  scope: Namespaced
  names: {kind: Widget, plural: widgets, singular: widget, listKind: WidgetList}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, properties: {size: {type: integer}EXTRA}}
`

func (c *cluster) widget(group, spec string) mizzen.Object {
	return c.parse(fmt.Sprintf("apiVersion: %s/v1\nkind: Widget\nmetadata: {name: w, namespace: NS}\nspec: {%s}", group, spec))
}

func (c *cluster) definition(group, extra string) mizzen.Object {
	return c.parse(strings.NewReplacer("GROUP", group, "EXTRA", extra).Replace(widgets))
}

func TestDefinitionAndObjectInOneCommit(t *testing.T) {
	c := start(t)
	group := unique(t, "g") + ".example.com"
	crd := c.definition(group, "")
	c.cleanup(crd)
	ns := c.parse("apiVersion: v1\nkind: Namespace\nmetadata: {name: NS-more}")
	c.cleanup(ns)
	inside := c.parse("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: NS-more}")
	p := c.plan(inside, c.widget(group, "size: 1"), crd, ns)
	if _, err := c.writer.Run(t.Context(), p, apply.RunOptions{}); err != nil {
		t.Fatal(err)
	}
	c.mapper.Reset()
	if c.live(c.widget(group, "")) == nil || c.live(inside) == nil {
		t.Error("not all is there")
	}
	// A field that the same commit adds to the schema takes effect in time.
	crd = c.definition(group, ", color: {type: string}")
	p = c.plan(crd)
	p.Changes = append(p.Changes, diffCreate(c.widget(group, "size: 1, color: red")))
	if _, err := c.writer.Run(t.Context(), p, apply.RunOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := field(t, c.live(c.widget(group, "")), "spec.color"); got != "red" {
		t.Errorf("color: %v", got)
	}
}

// diffCreate is a change that nobody verified.
func diffCreate(obj mizzen.Object) mizzen.Change {
	return mizzen.Change{Ref: obj.Ref(), APIVersion: obj.GetAPIVersion(), Action: mizzen.Update, Desired: &obj, NotVerified: "test"}
}

func TestDefinitionThatIsNeverServed(t *testing.T) {
	c := start(t)
	group := unique(t, "g") + ".example.com"
	crd := c.definition(group, "")
	c.cleanup(crd)
	c.sync(crd)
	// The same names a second time are not accepted.
	other := c.definition(group, "")
	other.SetName("gadgets." + group)
	names := other.Object["spec"].(map[string]any)["names"].(map[string]any)
	names["plural"] = "gadgets"
	c.cleanup(other)
	p := c.plan(other)
	_, err := c.writer.Run(t.Context(), p, apply.RunOptions{WaveTimeout: 5 * time.Second})
	if mizzen.KindOf(err) != mizzen.Timeout || !strings.Contains(fmt.Sprint(err), "NamesAccepted") {
		t.Errorf("error: %v", err)
	}
}

func TestStripTakesForeignFields(t *testing.T) {
	c := start(t)
	group := unique(t, "g") + ".example.com"
	crd := c.definition(group, ", color: {type: string}, deep: {type: object, x-kubernetes-preserve-unknown-fields: true}")
	c.cleanup(crd)
	c.sync(crd)
	c.mapper.Reset()
	w := c.widget(group, "size: 1, deep: {a: {b: 1}}")
	c.sync(w)
	c.as("kubectl", w, `{"spec":{"color":"red","deep":{"a":{"x/y":2}}}}`)
	p := c.plan(w)
	if len(p.Changes) != 0 {
		t.Fatalf("plan: %v", texts(p))
	}
	w.SetLabels(map[string]string{"new": "one"})
	p = c.plan(w)
	p.Changes[0].Strip = []mizzen.Path{"spec.color", "spec.deep.a.x/y"}
	p.Changes[0].Fields = append(p.Changes[0].Fields, mizzen.FieldChange{Path: "spec.color", Before: "red"})
	_, err := c.writer.Run(t.Context(), p, apply.RunOptions{})
	must(t, err)
	live := c.live(w)
	if d := cmp.Diff(map[string]any{"size": int64(1), "deep": map[string]any{"a": map[string]any{"b": int64(1)}}}, live.Object["spec"]); d != "" {
		t.Error(d)
	}
	for _, e := range live.GetManagedFields() {
		if e.Manager == manager && e.Operation == metav1.ManagedFieldsOperationUpdate {
			t.Errorf("taking fields away left us an owner: %s", e.FieldsV1.GetRawString())
		}
	}
	// What is not what the Plan showed is left alone.
	c.as("kubectl", w, `{"spec":{"color":"blue"}}`)
	_, err = c.writer.Run(t.Context(), p, apply.RunOptions{})
	if !errors.Is(err, apply.ErrStale) || mizzen.KindOf(err) != mizzen.Conflict {
		t.Errorf("error: %v", err)
	}
}

func TestRunStopsWhenCanceled(t *testing.T) {
	c := start(t)
	var objects []mizzen.Object
	for i := range 20 {
		objects = append(objects, c.configMap(fmt.Sprintf("c%d", i), ""))
	}
	p := c.plan(objects...)
	ctx, cancel := context.WithCancel(t.Context())
	var once sync.Once
	out, err := c.writer.Run(ctx, p, apply.RunOptions{Concurrency: 2, Observe: func(mizzen.Change, apply.Result, error) { once.Do(cancel) }})
	if !errors.Is(err, context.Canceled) || len(out.Failed) > 0 || len(out.Applied) == 0 || len(out.Applied) > 10 {
		t.Errorf("outcome: %d applied, %v failed, %v", len(out.Applied), out.Failed, err)
	}
	if _, err := c.writer.Run(t.Context(), p, apply.RunOptions{}); err != nil {
		t.Errorf("resumed: %v", err)
	}
	if p := c.plan(objects...); p.Unchanged != 20 {
		t.Errorf("plan after all: %v", texts(p))
	}
}

func TestNamespaces(t *testing.T) {
	c := start(t)
	ns := c.parse("apiVersion: v1\nkind: Namespace\nmetadata: {name: NS-made}")
	c.cleanup(ns)
	for range 2 {
		_, err := c.writer.Run(t.Context(), &mizzen.Plan{}, apply.RunOptions{Namespaces: []string{ns.GetName()}})
		must(t, err)
	}
	if live := c.live(ns); live == nil || live.GetLabels()[mizzen.LabelManaged] != "" {
		t.Errorf("namespace: %v", live)
	}
}
