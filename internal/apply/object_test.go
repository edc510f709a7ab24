package apply_test

import (
	"encoding/base64"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/apply"
)

const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: NS}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: app, image: registry.example/app:1}]
`

const deploymentWithoutReplicas = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: NS}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: app, image: registry.example/app:1}]
`

func TestSyncIsIdempotent(t *testing.T) {
	c := start(t)
	obj := c.parse(deployment)
	first := c.sync(obj)
	if d := cmp.Diff([]string{"create apps/Deployment " + c.namespace + "/web"}, texts(first)); d != "" {
		t.Error(d)
	}
	before := c.live(obj).GetGeneration()
	if p := c.plan(obj); len(p.Changes) != 0 || p.Unchanged != 1 {
		t.Errorf("second plan: %v", texts(p))
	}
	// A Plan may be run again, as after a kill, with no effect.
	first.Changes[0].Action = mizzen.Create
	if _, err := c.writer.Run(t.Context(), first, apply.RunOptions{}); err != nil {
		t.Fatal(err)
	}
	if after := c.live(obj).GetGeneration(); after != before {
		t.Errorf("generation went from %d to %d", before, after)
	}
}

func TestUpdateTakesFieldsBack(t *testing.T) {
	c := start(t)
	obj := c.parse(deployment)
	c.sync(obj)
	c.as("kubectl-edit", obj, `{"spec":{"replicas":5},"metadata":{"labels":{"team":"shop"}}}`)
	p := c.plan(obj)
	want := []mizzen.FieldChange{{Path: "spec.replicas", Before: int64(5), After: int64(3), Manager: "kubectl-edit", Origin: mizzen.Origin{File: "app.yaml"}}}
	if d := cmp.Diff(want, p.Changes[0].Fields); d != "" {
		t.Error(d)
	}
	c.sync(obj)
	live := c.live(obj)
	if got := field(t, live, "spec.replicas"); got != int64(3) {
		t.Errorf("replicas: %v", got)
	}
	if got := live.GetLabels()["team"]; got != "shop" {
		t.Errorf("the foreign label is %q", got)
	}
}

func TestAutoscalerKeepsReplicas(t *testing.T) {
	c := start(t)
	obj := c.parse(deployment)
	c.sync(obj)
	c.as("kube-controller-manager", obj, `{"spec":{"replicas":7}}`, "scale")
	if p := c.plan(obj); len(p.Changes) != 0 {
		t.Errorf("plan: %v", texts(p))
	}
	// An apply that knows nothing of the autoscaler leaves its field alone too.
	res, err := c.writer.Apply(t.Context(), obj, apply.ObjectOptions{})
	must(t, err)
	if res.Created || res.UID == "" || res.ResourceVersion == "" || len(res.ManagedFields) == 0 {
		t.Errorf("result: %+v", res)
	}
	c.sync(c.parse(deployment + "  paused: true\n"))
	live := c.live(obj)
	if got := field(t, live, "spec.replicas"); got != int64(7) {
		t.Errorf("replicas: %v", got)
	}
	if got := field(t, live, "spec.paused"); got != true {
		t.Errorf("paused: %v", got)
	}
	if p := c.plan(c.parse(deployment + "  paused: true\n")); len(p.Changes) != 0 {
		t.Errorf("plan after the sync: %v", texts(p))
	}
}

func TestRemovedReplicasKeepTheirValue(t *testing.T) {
	c := start(t)
	c.sync(c.parse(deployment))
	obj := c.parse(deploymentWithoutReplicas)
	before := c.live(obj)
	p := c.plan(obj)
	if d := cmp.Diff([]string{"update apps/Deployment " + c.namespace + "/web: spec.replicas handed over"}, texts(p)); d != "" {
		t.Error(d)
	}
	_, err := c.writer.Run(t.Context(), p, apply.RunOptions{})
	must(t, err)
	after := c.live(obj)
	if got := field(t, after, "spec.replicas"); got != int64(3) {
		t.Errorf("replicas: %v", got)
	}
	if before.GetGeneration() != after.GetGeneration() {
		t.Errorf("the spec was touched: generation %d, then %d", before.GetGeneration(), after.GetGeneration())
	}
	if p := c.plan(obj); len(p.Changes) != 0 {
		t.Errorf("plan after the sync: %v", texts(p))
	}
	// It may come back to Git.
	c.as("kubectl", obj, `{"spec":{"replicas":9}}`, "scale")
	c.sync(c.parse(deployment))
	if got := field(t, c.live(obj), "spec.replicas"); got != int64(3) {
		t.Errorf("replicas that came back: %v", got)
	}
}

func TestIstiodKeepsItsWebhook(t *testing.T) {
	c := start(t)
	name := unique(t, "hook")
	obj := c.parse(`
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: ` + name + `}
webhooks:
- name: other.example.com
  clientConfig: {url: "https://127.0.0.1:1/other"}
  admissionReviewVersions: [v1]
  sideEffects: None
  failurePolicy: Ignore
  objectSelector: {matchLabels: {never: matches}}
- name: validation.istio.io
  clientConfig: {service: {name: istiod, namespace: istio-system, path: /validate}, caBundle: ""}
  admissionReviewVersions: [v1]
  sideEffects: None
  failurePolicy: Ignore
  objectSelector: {matchLabels: {never: matches}}
`)
	c.cleanup(obj)
	c.sync(obj)
	testCA := base64.StdEncoding.EncodeToString(c.config.CAData)
	live := c.live(obj)
	hooks := live.DeepCopy().Object["webhooks"].([]any)
	hook := hooks[1].(map[string]any)
	hook["failurePolicy"] = "Fail"
	hook["clientConfig"].(map[string]any)["caBundle"] = testCA
	live.Object["webhooks"] = hooks
	update(c, "pilot-discovery", obj, live)

	c.sync(obj) // gives up the claim
	if p := c.plan(obj); len(p.Changes) != 0 {
		t.Errorf("plan beside istiod: %v", texts(p))
	}
	obj.Object["webhooks"].([]any)[1].(map[string]any)["timeoutSeconds"] = int64(7)
	c.sync(obj)
	live = c.live(obj)
	if got := field(t, live, "webhooks[1].failurePolicy"); got != "Fail" {
		t.Errorf("failurePolicy: %v", got)
	}
	if got := field(t, live, "webhooks[1].clientConfig.caBundle"); got != testCA {
		t.Errorf("caBundle: %v", got)
	}
	if got := field(t, live, "webhooks[1].timeoutSeconds"); got != int64(7) {
		t.Errorf("timeoutSeconds: %v", got)
	}
	// The other webhook's policy is still Git's.
	c.as("kubectl", obj, `{"metadata":{"labels":{"a":"b"}}}`)
	if p := c.plan(obj); len(p.Changes) != 0 {
		t.Errorf("plan at the end: %v", texts(p))
	}
}

func TestStaleUID(t *testing.T) {
	c := start(t)
	obj := c.parse("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: NS}\ndata: {a: b}")
	res, err := c.writer.Apply(t.Context(), obj, apply.ObjectOptions{})
	must(t, err)
	if !res.Created {
		t.Error("not created")
	}
	if _, err := c.writer.Apply(t.Context(), obj, apply.ObjectOptions{UID: res.UID}); err != nil {
		t.Fatal(err)
	}
	for _, gone := range []bool{false, true} {
		if gone {
			c.remove(obj)
		}
		_, err = c.writer.Apply(t.Context(), obj, apply.ObjectOptions{UID: "00000000-0000-0000-0000-000000000000"})
		if !errors.Is(err, apply.ErrStale) || errors.Is(err, apply.ErrImmutable) || mizzen.KindOf(err) != mizzen.Conflict {
			t.Errorf("gone %v: %v", gone, err)
		}
	}
	if c.live(obj) != nil {
		t.Error("a stale apply created the object")
	}
}

func TestKeepTakesOnlyOurMarks(t *testing.T) {
	c := start(t)
	obj := c.parse(deployment)
	c.sync(obj)
	before := c.live(obj)
	_, err := c.writer.Run(t.Context(), &mizzen.Plan{Changes: []mizzen.Change{{
		Ref: obj.Ref(), APIVersion: "apps/v1", Action: mizzen.Keep, UID: string(before.GetUID()),
	}}}, apply.RunOptions{})
	must(t, err)
	after := c.live(obj)
	if d := cmp.Diff(before.Object["spec"], after.Object["spec"]); d != "" {
		t.Error(d)
	}
	for _, key := range []string{mizzen.LabelManaged, mizzen.AnnotationOwner, mizzen.AnnotationIdentity} {
		if after.GetLabels()[key]+after.GetAnnotations()[key] != "" {
			t.Errorf("%s is left", key)
		}
	}
	for _, entry := range after.GetManagedFields() {
		if entry.Manager == manager {
			t.Errorf("we still own fields: %s %s", entry.Operation, entry.FieldsV1.GetRawString())
		}
	}
	// It is adopted again like any object that nobody owns.
	c.sync(obj)
	if c.live(obj).GetLabels()[mizzen.LabelManaged] == "" {
		t.Error("not adopted")
	}
}

func TestKeepOfSoleOwner(t *testing.T) {
	c := start(t)
	obj := c.parse("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: NS}\ndata: {a: b}")
	c.sync(obj)
	_, err := c.writer.Run(t.Context(), &mizzen.Plan{Changes: []mizzen.Change{{
		Ref: obj.Ref(), APIVersion: "v1", Action: mizzen.Keep, UID: string(c.live(obj).GetUID()),
	}}}, apply.RunOptions{})
	must(t, err)
	live := c.live(obj)
	if d := cmp.Diff(map[string]any{"a": "b"}, live.Object["data"]); d != "" {
		t.Error(d)
	}
	if got := live.GetManagedFields(); len(got) != 0 {
		t.Errorf("managedFields: %v", got)
	}
}

func update(c *cluster, fieldManager string, obj mizzen.Object, u *unstructured.Unstructured) {
	c.t.Helper()
	_, err := c.on(obj).Update(c.t.Context(), u, metav1.UpdateOptions{FieldManager: fieldManager})
	must(c.t, err)
}
