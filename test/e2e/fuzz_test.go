package e2e

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"

	"mizzen.dev/mizzen/internal/labtest"
)

var (
	fuzzTime = flag.Duration("fuzz-drift", 40*time.Second, "how long objects of the demo are edited at random")
	fuzzSeed = flag.Uint64("fuzz-drift-seed", 0, "seed of the edits; 0 is a new one")
)

// perObject is how often one object is edited: who changes it more often is in
// a fight, and waits.
const perObject = 3

// TestAnyEditIsRestoredOrNamed edits single fields of the demo's objects at
// random: it changes, deletes and adds. Each is restored, or named as foreign.
func TestAnyEditIsRestoredOrNamed(t *testing.T) {
	lab := labtest.Private(t, labtest.ControlPlane|labtest.Git)
	startMizzen(t, lab, t.TempDir())
	f := &fuzz{t: t, lab: lab, edits: map[string]int{}}
	f.lab.Config.WarningHandler = rest.NoWarnings{}
	f.connect()
	f.startDemo()
	seed := *fuzzSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", seed)
	f.rand = rand.New(rand.NewPCG(seed, 0))
	objects := f.objects()
	restored, named, refused := 0, 0, 0
	for end := time.Now().Add(*fuzzTime); time.Now().Before(end); {
		target, ok := f.pick(objects)
		if !ok {
			break
		}
		switch f.edit(target) {
		case "restored":
			restored++
		case "named":
			named++
		case "refused":
			refused++
		}
		if t.Failed() {
			t.Fatalf("again with -fuzz-drift-seed=%d", seed)
		}
	}
	t.Logf("%d objects of %d kinds: %d edits restored, %d named as foreign, %d refused by the API server",
		len(f.edits), len(objects), restored, named, refused)
	if restored == 0 {
		t.Error("nothing was edited")
	}
}

// fuzz edits the objects of the demo.
type fuzz struct {
	t      *testing.T
	lab    *labtest.Lab
	rand   *rand.Rand
	client dynamic.Interface
	mapper meta.RESTMapper
	// edits counts those of each object.
	edits map[string]int
}

func (f *fuzz) connect() {
	f.t.Helper()
	var err error
	if f.client, err = dynamic.NewForConfig(f.lab.Config); err != nil {
		f.t.Fatal(err)
	}
	d, err := discovery.NewDiscoveryClientForConfig(f.lab.Config)
	if err != nil {
		f.t.Fatal(err)
	}
	f.mapper = restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(d))
}

// startDemo hands the demo repository to Mizzen, and waits until all of it is
// up.
func (f *fuzz) startDemo() {
	f.t.Helper()
	url, err := exec.Command("../../bin/lab", "demo", "--dir", f.lab.Dir).Output()
	if err != nil {
		f.t.Fatalf("lab demo: %v", err)
	}
	clone := filepath.Join(f.t.TempDir(), "demo")
	if out, err := exec.Command("git", "clone", "-q", strings.TrimSpace(string(url)), clone).CombinedOutput(); err != nil {
		f.t.Fatalf("git clone: %v\n%s", err, out)
	}
	s := &scenario{t: f.t, lab: f.lab}
	bootstrap, err := os.ReadFile(filepath.Join(clone, "bootstrap.yaml"))
	if err != nil {
		f.t.Fatal(err)
	}
	for _, text := range []string{"apiVersion: v1\nkind: Secret\nmetadata: {name: demo-webhook, namespace: mizzen-system}\nstringData: {token: fuzz}\n", string(bootstrap)} {
		if err := s.kubectl(text); err != nil {
			f.t.Fatal(err)
		}
	}
	f.await("the demo is up", func() bool {
		apps, err := f.client.Resource(applications).Namespace("mizzen-system").List(f.t.Context(), metav1.ListOptions{})
		return err == nil && len(apps.Items) == 11 && !slices.ContainsFunc(apps.Items, func(app unstructured.Unstructured) bool {
			return !strings.HasPrefix(conditionText(&app, "Ready"), "True")
		})
	})
}

// await waits for a condition, within the patience of a scenario.
func (f *fuzz) await(what string, condition func() bool) {
	f.t.Helper()
	for deadline := time.Now().Add(*patience); !condition(); time.Sleep(pause) {
		if time.Now().After(deadline) {
			f.t.Fatalf("waited in vain: %s", what)
		}
	}
}

// edited is an object that may be edited.
type edited struct {
	resource        schema.GroupVersionResource
	kind            string
	namespace, name string
}

func (e edited) String() string { return e.kind + " " + e.namespace + "/" + e.name }

// objects returns everything that Mizzen applied, by kind.
func (f *fuzz) objects() map[string][]edited {
	f.t.Helper()
	apps, err := f.client.Resource(applications).Namespace("mizzen-system").List(f.t.Context(), metav1.ListOptions{})
	if err != nil {
		f.t.Fatal(err)
	}
	objects := map[string][]edited{}
	for _, app := range apps.Items {
		entries, _, _ := unstructured.NestedSlice(app.Object, "status", "inventory", "entries")
		for _, e := range entries {
			entry := e.(map[string]any)
			o := f.parse(entry["ref"].(string), entry["v"].(string))
			if o.kind == "Application" && o.name == app.GetName() {
				// It keeps itself: what changes how it does that, such as its
				// path or its rights, is for a person to change back.
				continue
			}
			objects[o.kind] = append(objects[o.kind], o)
		}
	}
	for _, of := range objects {
		slices.SortFunc(of, func(a, b edited) int { return strings.Compare(a.String(), b.String()) })
	}
	return objects
}

// parse reads "group/Kind namespace/name" of an inventory.
func (f *fuzz) parse(ref, version string) edited {
	f.t.Helper()
	kind, name, _ := strings.Cut(ref, " ")
	gk := schema.GroupKind{Kind: kind}
	if group, short, ok := strings.Cut(kind, "/"); ok {
		gk = schema.GroupKind{Group: group, Kind: short}
	}
	mapping, err := f.mapper.RESTMapping(gk, version)
	if err != nil {
		f.t.Fatal(err)
	}
	o := edited{resource: mapping.Resource, kind: gk.Kind, name: name}
	if namespace, short, ok := strings.Cut(name, "/"); ok {
		o.namespace, o.name = namespace, short
	}
	return o
}

// pick chooses a kind, and then an object of it that is not in a fight yet.
func (f *fuzz) pick(objects map[string][]edited) (edited, bool) {
	var free []string
	for kind, of := range objects {
		if slices.ContainsFunc(of, f.free) {
			free = append(free, kind)
		}
	}
	if len(free) == 0 {
		return edited{}, false
	}
	slices.Sort(free)
	of := slices.DeleteFunc(slices.Clone(objects[free[f.rand.IntN(len(free))]]), func(o edited) bool { return !f.free(o) })
	return of[f.rand.IntN(len(of))], true
}

func (f *fuzz) free(o edited) bool { return f.edits[o.String()] < perObject }

// edit makes one edit, and says what became of it.
func (f *fuzz) edit(o edited) string {
	f.t.Helper()
	ctx := f.t.Context()
	client := f.client.Resource(o.resource).Namespace(o.namespace)
	f.edits[o.String()]++
	before, err := client.Get(ctx, o.name, metav1.GetOptions{})
	if err != nil {
		f.t.Fatalf("%s: %v", o, err)
	}
	changed := before.DeepCopy()
	what := mutate(f.rand, changed.Object)
	_, err = client.Update(ctx, changed, metav1.UpdateOptions{FieldManager: "fuzz"})
	switch {
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsForbidden(err), apierrors.IsConflict(err):
		return "refused"
	case err != nil:
		f.t.Fatalf("%s: %s: %v", o, what, err)
	}
	want := content(before)
	verdict, left := "", ""
	for deadline := time.Now().Add(*patience); verdict == ""; time.Sleep(pause) {
		if left = f.difference(ctx, client, o, want); left == "" {
			return "restored"
		}
		if f.named(before, o) || onlyMetadata(left) {
			verdict = "named"
		} else if time.Now().After(deadline) {
			f.t.Errorf("%s: %s is neither restored nor named as foreign:\n%s", o, what, left)
			return "lost"
		}
	}
	f.undo(client, o, before)
	return verdict
}

// difference returns what an object differs in, "" if it is as it was.
func (f *fuzz) difference(ctx context.Context, client dynamic.ResourceInterface, o edited, want map[string]any) string {
	now, err := client.Get(ctx, o.name, metav1.GetOptions{})
	if err != nil {
		return err.Error()
	}
	return cmp.Diff(want, content(now))
}

// named tells whether the plan of the object's Application says that somebody
// added a field to it.
func (f *fuzz) named(before *unstructured.Unstructured, o edited) bool {
	namespace, app, _ := strings.Cut(before.GetAnnotations()["mizzen.dev/owner"], "/")
	cmd := exec.Command("../../bin/mizzen", "plan", app, "-n", namespace, "-o", "json", "--fail-on", "none")
	cmd.Env = append(os.Environ(), "KUBECONFIG="+f.lab.Kubeconfig, "HOME="+f.t.TempDir())
	out, err := cmd.Output()
	if err != nil {
		return false
	}
	var plan struct {
		Findings []struct {
			Code, Message string
			Ref           struct{ Kind, Name string }
		}
	}
	if err := json.Unmarshal(out, &plan); err != nil {
		f.t.Fatalf("plan of %s: %v", app, err)
	}
	for _, finding := range plan.Findings {
		if finding.Code == "MZ3006" && finding.Ref.Kind == o.kind && finding.Ref.Name == o.name && strings.HasPrefix(finding.Message, "fuzz added") {
			return true
		}
	}
	return false
}

// undo takes back an edit that stays.
func (f *fuzz) undo(client dynamic.ResourceInterface, o edited, before *unstructured.Unstructured) {
	f.t.Helper()
	f.await("an edit of "+o.String()+" can be undone", func() bool {
		now, err := client.Get(f.t.Context(), o.name, metav1.GetOptions{})
		if err != nil {
			return false
		}
		was := before.DeepCopy()
		was.SetResourceVersion(now.GetResourceVersion())
		was.SetManagedFields(now.GetManagedFields())
		was.SetUID(now.GetUID())
		_, err = client.Update(f.t.Context(), was, metav1.UpdateOptions{FieldManager: "fuzz"})
		return err == nil
	})
}

// content is what an edit may be about and somebody may restore.
func content(o *unstructured.Unstructured) map[string]any {
	c := o.DeepCopy()
	delete(c.Object, "status")
	for _, field := range []string{"managedFields", "resourceVersion", "generation", "uid", "creationTimestamp"} {
		unstructured.RemoveNestedField(c.Object, "metadata", field)
	}
	unstructured.RemoveNestedField(c.Object, "metadata", "annotations", "deployment.kubernetes.io/revision")
	return c.Object
}

// onlyMetadata tells whether a difference is a label or an annotation of
// somebody else: those are theirs, and nobody needs to be told.
func onlyMetadata(diff string) bool {
	for line := range strings.Lines(diff) {
		changed := strings.HasPrefix(line, "+") || strings.HasPrefix(line, "-")
		if changed && !strings.Contains(line, "fuzz") {
			return false
		}
	}
	return strings.Contains(diff, `"metadata"`)
}

// mutate changes, deletes or adds one field in place, and says which.
func mutate(r *rand.Rand, object map[string]any) string {
	var places []place
	survey(object, nil, &places)
	p := places[r.IntN(len(places))]
	switch op := r.IntN(4); {
	case op == 0 && p.remove != nil:
		p.remove()
		return "delete " + p.path
	case op == 1 && p.add != nil:
		p.add()
		return "add to " + p.path
	case p.change != nil:
		p.change()
		return "change " + p.path
	case p.add != nil:
		p.add()
		return "add to " + p.path
	}
	p.remove()
	return "delete " + p.path
}

// place is where an object can be edited.
type place struct {
	path                string
	change, remove, add func()
}

// identity are fields that make another object, or that nobody may edit.
var identity = []string{
	"apiVersion", "kind", "status", "metadata.name", "metadata.namespace", "metadata.uid", "metadata.resourceVersion",
	"metadata.generation", "metadata.creationTimestamp", "metadata.managedFields", "metadata.finalizers",
	"metadata.annotations.deployment.kubernetes.io/revision",
}

// survey finds the places of a value.
func survey(value any, path []string, places *[]place) {
	switch v := value.(type) {
	case map[string]any:
		for _, key := range sortedKeys(v) {
			sub := append(slices.Clone(path), key)
			if name := strings.Join(sub, "."); !slices.Contains(identity, name) {
				*places = append(*places, fieldPlace(v, key, name))
				survey(v[key], sub, places)
			}
		}
	case []any:
		for i := range v {
			survey(v[i], append(slices.Clone(path), fmt.Sprint(i)), places)
		}
	}
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// fieldPlace says how a field of a map can be edited.
func fieldPlace(m map[string]any, key, name string) place {
	p := place{path: name, remove: func() { delete(m, key) }}
	if name == "metadata" || name == "metadata.labels" || name == "metadata.annotations" {
		p.remove = func() { delete(m[key].(map[string]any), "mizzen.dev/owner") }
	}
	switch v := m[key].(type) {
	case string:
		p.change = func() { m[key] = v + "x" }
	case int64:
		p.change = func() { m[key] = v + 1 }
	case float64:
		p.change = func() { m[key] = v + 1 }
	case bool:
		p.change = func() { m[key] = !v }
	case map[string]any:
		p.add = func() { v["fuzz"] = "fuzz" }
	case []any:
		p.add = func() { m[key] = append(v, another(v)) }
	}
	return p
}

// another is one more element of a list.
func another(list []any) any {
	if len(list) == 0 {
		return "fuzz"
	}
	last, ok := list[len(list)-1].(map[string]any)
	if !ok {
		return "fuzz"
	}
	one := (&unstructured.Unstructured{Object: last}).DeepCopy().Object
	if _, named := one["name"]; named {
		one["name"] = "fuzz"
	}
	return one
}
