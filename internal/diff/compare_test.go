package diff

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"mizzen.dev/mizzen"
)

var testKey = []byte("0123456789abcdef")

func compareOptions(t *testing.T) CompareOptions {
	t.Helper()
	m, err := NewMasker(testKey)
	if err != nil {
		t.Fatal(err)
	}
	return CompareOptions{Manager: "mizzen", Masker: m}
}

// owned adds a managedFields entry to an object.
func owned(u *unstructured.Unstructured, manager, operation, fields string) *unstructured.Unstructured {
	entries, _, _ := unstructured.NestedSlice(u.Object, "metadata", "managedFields")
	var set map[string]any
	if err := json.Unmarshal([]byte(fields), &set); err != nil {
		panic(err)
	}
	entries = append(entries, map[string]any{"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": set})
	if err := unstructured.SetNestedSlice(u.Object, entries, "metadata", "managedFields"); err != nil {
		panic(err)
	}
	return u
}

func lines(c mizzen.Change) []string {
	var out []string
	for _, f := range c.Fields {
		line := f.String()
		if f.Manager != "" {
			line += " of " + f.Manager
		}
		out = append(out, line)
	}
	return out
}

const virtualService = `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: shop}
spec:
  hosts: [reviews]
  http:
  - name: canary
    route:
    - destination: {host: reviews, subset: v1}
      weight: 90
    - destination: {host: reviews, subset: v2}
      weight: 10
`

func TestCompareFields(t *testing.T) {
	cases := map[string]struct {
		live, after string
		want        []string
	}{
		"equal":         {virtualService, virtualService, nil},
		"server fields": {virtualService, strings.Replace(virtualService, "shop}", "shop, generation: 7, creationTimestamp: x}", 1) + "status: {a: b}", nil},
		"weights": {
			virtualService, strings.NewReplacer("90", "80", "10", "20").Replace(virtualService),
			[]string{"spec.http[0].route[0].weight 90 → 80", "spec.http[0].route[1].weight 10 → 20"},
		},
		"a route before a named one": {
			virtualService, strings.Replace(virtualService, "  - name: canary", "  - name: first\n    route: []\n  - name: canary", 1),
			[]string{`+spec.http[0] {"name":"first","route":[]}`},
		},
		"an element in the middle of a plain list": {
			"{a: [p, q, r]}", "{a: [p, new, q, r]}",
			[]string{"+a[1] new"},
		},
		"elements go": {
			"{a: [p, q, r]}", "{a: [p]}",
			[]string{"-a[1] q", "-a[2] r"},
		},
		"labels one by one": {
			"metadata: {name: a}", "metadata: {name: a, labels: {x: v, a.b/c: d}}",
			[]string{"+metadata.labels.x v", `+metadata.labels["a.b/c"] d`},
		},
		"a container": {
			"spec: {containers: [{name: a, image: x}]}", "spec: {containers: [{name: b, image: w}, {name: a, image: z}]}",
			[]string{`+spec.containers[0] {"image":"w","name":"b"}`, "spec.containers[1].image x → z"},
		},
		"another type":      {"spec: {a: {b: c}}", "spec: {a: [b]}", []string{`spec.a {"b":"c"} → ["b"]`}},
		"numbers":           {"spec: {a: 1}", "spec: {a: 1.0}", nil},
		"null is not there": {"spec: {a: null}", "spec: {}", nil},
		"ports": {
			"spec: {ports: [{port: 80, protocol: TCP}, {port: 80, protocol: UDP}]}", "spec: {ports: [{port: 80, protocol: UDP, name: u}, {port: 80, protocol: TCP}]}",
			[]string{"+spec.ports[0].name u"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			desired := parse(t, virtualService)
			live, after := parse(t, c.live), parse(t, c.after)
			change := Compare(desired, live.Unstructured, after.Unstructured, compareOptions(t))
			if d := cmp.Diff(c.want, lines(change)); d != "" {
				t.Error(d)
			}
			want := mizzen.Update
			if len(c.want) == 0 {
				want = mizzen.None
			}
			if change.Action != want || change.NotVerified != "" {
				t.Errorf("action %s, not verified: %q", change.Action, change.NotVerified)
			}
		})
	}
}

func TestCompareOriginsAndOwners(t *testing.T) {
	desired := parse(t, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 3, template: {spec: {containers: [{name: app, image: new}]}}}")
	const image = mizzen.Path("spec.template.spec.containers[0].image")
	desired.Origins.Fields = map[mizzen.Path]mizzen.Origin{
		image: {File: "kustomization.yaml", Line: 9}, "spec.replicas": {File: "app.yaml", Line: 4},
	}
	live := parse(t, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, uid: u1}\nspec: {replicas: 5, template: {spec: {containers: [{name: proxy}, {name: app, image: old}]}}}").Unstructured
	owned(live, "mizzen", "Apply", `{"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"app\"}":{".":{},"f:name":{},"f:image":{}}}}}}}`)
	owned(live, "kubectl-edit", "Update", `{"f:spec":{"f:replicas":{}}}`)
	after := live.DeepCopy()
	after.Object["spec"] = parse(t, "spec: {replicas: 3, template: {spec: {containers: [{name: proxy, image: injected}, {name: app, image: new}]}}}").Object["spec"]
	change := Compare(desired, live, after, compareOptions(t))
	want := []mizzen.FieldChange{
		{Path: "spec.replicas", Before: int64(5), After: int64(3), Manager: "kubectl-edit", Origin: mizzen.Origin{File: "app.yaml", Line: 4}},
		{Path: "spec.template.spec.containers[0].image", After: "injected", Origin: mizzen.Origin{File: "app.yaml"}},
		{Path: "spec.template.spec.containers[1].image", Before: "old", After: "new", Origin: mizzen.Origin{File: "kustomization.yaml", Line: 9}},
	}
	if d := cmp.Diff(want, change.Fields); d != "" {
		t.Error(d)
	}
	if change.UID != "u1" || change.Desired == nil || change.Content == "" {
		t.Errorf("change: %+v", change)
	}
}

func TestCompareOwnershipAlone(t *testing.T) {
	desired := parse(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: b}")
	live := owned(desired.DeepCopy(), "kubectl", "Update", `{"f:data":{"f:a":{}}}`)
	after := owned(live.DeepCopy(), "mizzen", "Apply", `{"f:data":{"f:a":{}}}`)
	for name, c := range map[string]mizzen.Change{
		"dry-run":  Compare(desired, live, after, compareOptions(t)),
		"verified": Compare(desired, live, nil, compareOptions(t)),
	} {
		if c.Action != mizzen.Update || c.Reason != "only the ownership of fields changes" || len(c.Fields) > 0 {
			t.Errorf("%s: %s", name, c)
		}
	}
	if c := Compare(desired, after, after, compareOptions(t)); c.Action != mizzen.None {
		t.Errorf("owned: %s", c)
	}
}

func TestCompareIgnoresOthersInBetween(t *testing.T) {
	desired := parse(t, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {paused: true}")
	live := parse(t, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, resourceVersion: '1'}\nspec: {}").Unstructured
	after := parse(t, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, resourceVersion: '2', annotations: {revision: '1'}}\nspec: {paused: true, default: 1}").Unstructured
	owned(after, "kube-controller-manager", "Update", `{"f:metadata":{"f:annotations":{"f:revision":{}}}}`)
	owned(after, "mizzen", "Apply", `{"f:spec":{"f:paused":{}}}`)
	got := lines(Compare(desired, live, after, compareOptions(t)))
	// What nobody owns is the API server's answer to our own change.
	if d := cmp.Diff([]string{"+spec.default 1", "+spec.paused true"}, got); d != "" {
		t.Error(d)
	}
}

func TestCompareUnverified(t *testing.T) {
	desired := parse(t, `
apiVersion: v1
kind: Service
metadata: {name: web, labels: {app: web}}
spec: {ports: [{port: 443}, {port: 80, targetPort: 8080}], selector: {app: web}, externalIPs: [10.0.0.1]}`)
	live := parse(t, `
apiVersion: v1
kind: Service
metadata: {name: web, labels: {app: web, old: label}, annotations: {foreign: kept}}
spec:
  clusterIP: 10.1.1.1
  ports: [{port: 80, targetPort: 80, protocol: TCP}, {port: 443, protocol: TCP, targetPort: 443}, {port: 9, protocol: TCP}]
  selector: {app: web}
  externalIPs: [10.0.0.1, 10.0.0.2]`).Unstructured
	owned(live, "mizzen", "Apply", `{"f:metadata":{"f:labels":{"f:app":{},"f:old":{}}},"f:spec":{"f:ports":{"k:{\"port\":80,\"protocol\":\"TCP\"}":{".":{},"f:port":{}},"k:{\"port\":9,\"protocol\":\"TCP\"}":{".":{},"f:port":{}}}}}`)
	change := Compare(desired, live, nil, compareOptions(t))
	want := []string{
		"-metadata.labels.old label",
		`spec.externalIPs ["10.0.0.1","10.0.0.2"] → ["10.0.0.1"]`,
		`spec.ports[1].targetPort 80 → 8080`,
		`-spec.ports[2] {"port":9,"protocol":"TCP"}`,
	}
	if d := cmp.Diff(want, lines(change)); d != "" {
		t.Error(d)
	}
	if change.NotVerified != "the API server was not asked" {
		t.Errorf("not verified: %q", change.NotVerified)
	}
}

func TestComparePolicies(t *testing.T) {
	for policy, want := range map[string][2]mizzen.Action{
		"Override":     {mizzen.Create, mizzen.Update},
		"Merge":        {mizzen.Create, mizzen.Update},
		"IfNotPresent": {mizzen.Create, mizzen.None},
		"Ignore":       {mizzen.Skip, mizzen.Skip},
	} {
		desired := parse(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, annotations: {mizzen.dev/sync-wave: '3', kustomize.toolkit.fluxcd.io/ssa: "+policy+"}}\ndata: {a: new}")
		live := parse(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: old}")
		created := Compare(desired, nil, nil, compareOptions(t))
		updated := Compare(desired, live.Unstructured, desired.Unstructured, compareOptions(t))
		if created.Action != want[0] || updated.Action != want[1] || created.Wave != 3 {
			t.Errorf("%s: %s, %s", policy, created.Action, updated.Action)
		}
	}
}

func TestSecretsAreMasked(t *testing.T) {
	secret := func(password string) mizzen.Object {
		return parse(t, `
apiVersion: v1
kind: Secret
metadata:
  name: db
  annotations: {kubectl.kubernetes.io/last-applied-configuration: '{"data":{"password":"`+password+`"}}'}
data: {password: `+password+`, same: c2FtZQ==}
`)
	}
	o := compareOptions(t)
	live, desired := secret("aHVudGVyMQ=="), secret("aHVudGVyMg==")
	change := Compare(desired, live.Unstructured, desired.Unstructured, o)
	text := fmt.Sprintf("%+v %s", change.Fields, change)
	for _, value := range []string{"hunter", "aHVudGVy", "c2FtZQ"} {
		if strings.Contains(text, value) {
			t.Errorf("the change shows %q: %s", value, text)
		}
	}
	if len(change.Fields) != 2 || !strings.HasPrefix(fmt.Sprint(change.Fields[0].Before), "hmac:") {
		t.Fatalf("fields: %v", change.Fields)
	}
	again := Compare(secret("aHVudGVyMg=="), live.Unstructured, desired.Unstructured, o)
	if d := cmp.Diff(change.Fields, again.Fields); d != "" || change.Content != again.Content {
		t.Errorf("marks are not a function of the value: %s", d)
	}
	other := secret("aHVudGVyMg==")
	other.SetName("mine")
	if ContentHash(other.Unstructured, o.Masker) == change.Content {
		t.Error("hashes of different Secrets agree")
	}
	o.Masker, _ = NewMasker([]byte("another key of 16 bytes"))
	if Compare(desired, live.Unstructured, desired.Unstructured, o).Content == change.Content {
		t.Error("the hash does not depend on the key")
	}
	o.Masker = Masker{}
	hidden := Compare(desired, live.Unstructured, desired.Unstructured, o)
	if hidden.Fields[1].Before != Hidden || hidden.Content != "" {
		t.Errorf("without a key: %+v", hidden)
	}
	if _, err := NewMasker([]byte("short")); err == nil {
		t.Error("a short key is taken")
	}
	// The whole of data appears or goes field by field.
	empty := parse(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: db}")
	change = Compare(desired, empty.Unstructured, desired.Unstructured, compareOptions(t))
	if text := fmt.Sprintf("%+v", change.Fields); strings.Contains(text, "aHVu") || len(change.Fields) != 3 {
		t.Errorf("fields: %s", text)
	}
}

func FuzzCompare(f *testing.F) {
	f.Add(`{"a":[{"name":"x"},{"name":"y"}]}`, `{"a":[{"name":"y"}],"b":null}`)
	f.Add(`{"spec":{"ports":[{"port":80}]}}`, `{"spec":{"ports":[80,{}]}}`)
	f.Add(`{"metadata":[]}`, `{"metadata":{"labels":1,"managedFields":{}}}`)
	f.Fuzz(func(t *testing.T, a, b string) {
		var before, after map[string]any
		if json.Unmarshal([]byte(a), &before) != nil || json.Unmarshal([]byte(b), &after) != nil || before == nil || after == nil {
			return
		}
		live, dry := &unstructured.Unstructured{Object: before}, &unstructured.Unstructured{Object: after}
		desired := mizzen.Object{Unstructured: dry}
		first := Compare(desired, live, dry, CompareOptions{Manager: "mizzen"})
		if d := cmp.Diff(first, Compare(desired, live, dry, CompareOptions{Manager: "mizzen"})); d != "" {
			t.Errorf("not deterministic: %s", d)
		}
		Compare(desired, live, nil, CompareOptions{Manager: "mizzen"})
	})
}
