package e2e

import (
	"encoding/json"
	"flag"
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
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/util/retry"

	"mizzen.dev/mizzen/internal/labtest"
)

var (
	fuzzTime = flag.Duration("fuzz-drift", 40*time.Second, "how long objects of the demo are edited at random")
	fuzzSeed = flag.Uint64("fuzz-drift-seed", 0, "seed of the edits; 0 is a new one")
)

// perObject is how often one object is edited: who changes it more often is in
// a fight, and waits.
const perObject = 3

// verdict is what becomes of an edit.
type verdict string

// Every edit ends in one of these; lost is a defect.
const (
	restored verdict = "restored"
	named    verdict = "named as foreign"
	theirs   verdict = "a label or an annotation of somebody else"
	refused  verdict = "refused by the API server"
	lost     verdict = "neither restored nor named as foreign"
)

// grace is how long an edit may take to be restored before it is asked whether
// it is to stay.
const grace = 3 * time.Second

// least is how many edits at random have to be restored.
const least = 15

// TestAnyEditIsRestoredOrNamed edits single fields of the demo's objects: one of
// each verdict, and then it changes, deletes and adds at random. Each is
// restored, or named as foreign.
func TestAnyEditIsRestoredOrNamed(t *testing.T) {
	t.Parallel()
	lab := labtest.Private(t, labtest.ControlPlane|labtest.Git)
	launch(t, lab, t.TempDir()).ready()
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
	f.oneOfEach(slices.DeleteFunc(slices.Clone(objects["Deployment"]), func(o edited) bool { return o.namespace != "shop" }))
	counts := map[verdict]int{}
	for end := time.Now().Add(*fuzzTime); time.Now().Before(end) || counts[restored] < least; {
		target, ok := f.pick(objects)
		if !ok {
			break
		}
		counts[f.edit(target, func(object map[string]any) string { return mutate(f.rand, object) })]++
		if t.Failed() {
			t.Fatalf("again with -fuzz-drift-seed=%d", seed)
		}
	}
	t.Logf("%d objects of %d kinds: %v", len(f.edits), len(objects), counts)
	if counts[restored] < least {
		t.Errorf("%d edits at random were restored, want at least %d: nothing is proved", counts[restored], least)
	}
}

// oneOfEach makes an edit of each verdict.
func (f *fuzz) oneOfEach(deployments []edited) {
	f.t.Helper()
	for i, c := range []struct {
		what string
		want verdict
		edit func(map[string]any)
	}{
		{"change replicas", restored, func(o map[string]any) { spec(o)["replicas"] = spec(o)["replicas"].(int64) + 1 }},
		{"add a container", named, func(o map[string]any) {
			template := spec(spec(o)["template"].(map[string]any))
			containers := template["containers"].([]any)
			template["containers"] = append(containers, another(containers))
		}},
		{"add a label", theirs, func(o map[string]any) {
			o["metadata"].(map[string]any)["labels"].(map[string]any)["fuzz"] = "fuzz"
		}},
		{"change the selector", refused, func(o map[string]any) {
			spec(o)["selector"] = map[string]any{"matchLabels": map[string]any{"fuzz": "fuzz"}}
		}},
	} {
		target := deployments[i%len(deployments)]
		got := f.edit(target, func(object map[string]any) string {
			c.edit(object)
			return c.what
		})
		if got != c.want {
			f.t.Errorf("%s: %s: %s, want %s", target, c.what, got, c.want)
		}
	}
	f.whileUnfetched(deployments[0])
}

func spec(object map[string]any) map[string]any { return object["spec"].(map[string]any) }

// whileUnfetched edits an object while there is nothing to restore it from,
// because somebody sent the Repository elsewhere; it is restored when the
// Repository is back, although that brings no commit that was not known.
func (f *fuzz) whileUnfetched(target edited) {
	f.t.Helper()
	home := f.client.Resource(applications).Namespace("mizzen-system")
	repositories := f.client.Resource(repositories).Namespace("mizzen-system")
	patch := func(client dynamic.ResourceInterface, name, text string) {
		if _, err := client.Patch(f.t.Context(), name, types.MergePatchType, []byte(text), metav1.PatchOptions{FieldManager: "fuzz"}); err != nil {
			f.t.Fatal(err)
		}
	}
	demo, err := repositories.Get(f.t.Context(), "demo", metav1.GetOptions{})
	if err != nil {
		f.t.Fatal(err)
	}
	url, _, _ := unstructured.NestedString(demo.Object, "spec", "url")
	// Who would send it back at once.
	patch(home, "apps", `{"spec": {"suspend": true}}`)
	f.await("apps to be suspended", func() bool {
		apps, err := home.Get(f.t.Context(), "apps", metav1.GetOptions{})
		return err == nil && strings.Contains(conditionText(apps, "Synced"), "Suspended")
	})
	patch(repositories, "demo", `{"spec": {"url": "http://127.0.0.1:1/nothing.git"}}`)
	f.await("the repository to be another one", func() bool {
		demo, err := repositories.Get(f.t.Context(), "demo", metav1.GetOptions{})
		return err == nil && strings.HasPrefix(conditionText(demo, "Ready"), "False")
	})
	back := time.AfterFunc(grace/2, func() { patch(repositories, "demo", `{"spec": {"url": "`+url+`"}}`) })
	defer back.Stop()
	got := f.edit(target, func(object map[string]any) string {
		spec(object)["replicas"] = spec(object)["replicas"].(int64) + 1
		return "change replicas"
	})
	if got != restored {
		f.t.Errorf("%s: %s, want %s", target, got, restored)
	}
	patch(home, "apps", `{"spec": {"suspend": false}}`)
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
func (f *fuzz) edit(o edited, mutation func(map[string]any) string) verdict {
	f.t.Helper()
	ctx := f.t.Context()
	client := f.client.Resource(o.resource).Namespace(o.namespace)
	f.edits[o.String()]++
	var before *unstructured.Unstructured
	var what string
	// Controllers write too, between our reading and our writing.
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() (err error) {
		if before, err = client.Get(ctx, o.name, metav1.GetOptions{}); err != nil {
			return err
		}
		changed := before.DeepCopy()
		what = mutation(changed.Object)
		_, err = client.Update(ctx, changed, metav1.UpdateOptions{FieldManager: "fuzz"})
		return err
	})
	switch {
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsForbidden(err), apierrors.IsConflict(err):
		return refused
	case err != nil:
		f.t.Fatalf("%s: %s: %v", o, what, err)
	}
	return f.outcome(client, o, before, what)
}

// outcome waits for an edit to be restored, or else for the reason why it
// stays, and takes it back then.
func (f *fuzz) outcome(client dynamic.ResourceInterface, o edited, before *unstructured.Unstructured, what string) verdict {
	f.t.Helper()
	begin := time.Now()
	for ; ; time.Sleep(pause) {
		now, err := client.Get(f.t.Context(), o.name, metav1.GetOptions{})
		left := ""
		switch {
		case err != nil:
			left = err.Error()
		case cmp.Equal(content(before), content(now)):
			return restored
		default:
			left = cmp.Diff(content(before), content(now))
		}
		switch waited := time.Since(begin); {
		case waited < grace:
		case err == nil && cmp.Equal(ours(before, before), ours(now, before)):
			f.undo(client, o, before)
			return theirs
		case f.named(before, o):
			f.undo(client, o, before)
			return named
		case waited > *patience:
			f.t.Errorf("%s: %s is %s:\n%s", o, what, lost, left)
			return lost
		}
	}
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
