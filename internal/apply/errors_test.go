package apply_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	clocktesting "k8s.io/utils/clock/testing"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/apply"
)

func TestForbiddenNamesAccountAndRemedy(t *testing.T) {
	c := start(t)
	user := "system:serviceaccount:" + c.namespace + ":deployer"
	weak := c.applier(user)
	obj := c.configMap("c", "")
	_, err := weak.Apply(t.Context(), obj, apply.ObjectOptions{})
	if mizzen.KindOf(err) != mizzen.Forbidden {
		t.Fatalf("error: %v", err)
	}
	want := fmt.Sprintf("allow service account %s/deployer to patch configmaps in namespace %s: bind a Role with these by a RoleBinding", c.namespace, c.namespace)
	if !strings.Contains(err.Error(), want) {
		t.Errorf("error: %v\nlacks %s", err, want)
	}
	// One transport serves all identities, and each has its own rights: the
	// groups of a service account are added by the API server.
	c.sync(c.parse(`
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: deployer, namespace: NS}
rules: [{apiGroups: [""], resources: [configmaps], verbs: [get, create, patch, delete]}]`), c.parse(`
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: deployer, namespace: NS}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: deployer}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: "system:serviceaccounts:NS"}]`))
	allowed := c.writer.As(user)
	eventually(t, func() bool {
		_, err = allowed.Apply(t.Context(), obj, apply.ObjectOptions{})
		return err == nil
	})
	secret := c.parse("apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: NS}")
	if _, err := allowed.DryRun(t.Context(), secret, nil); mizzen.KindOf(err) != mizzen.Forbidden {
		t.Errorf("a Secret: %v", err)
	}
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatal("never came true")
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestImmutableFields(t *testing.T) {
	const job = `
apiVersion: batch/v1
kind: Job
metadata: {name: job, namespace: NS, annotations: {mizzen.dev/sync-options: "OPTIONS"}}
spec:
  suspend: true
  template: {spec: {restartPolicy: Never, containers: [{name: a, image: IMAGE}]}}`
	cases := map[string][2]string{
		"Job": {strings.ReplaceAll(job, "IMAGE", "a"), strings.ReplaceAll(job, "IMAGE", "b")},
		"StatefulSet": {
			"apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: s, namespace: NS}\nspec: {replicas: 0, serviceName: a, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: a}]}}}",
			"apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: s, namespace: NS}\nspec: {replicas: 0, serviceName: b, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: a}]}}}",
		},
		"Deployment": {deployment, strings.ReplaceAll(deployment, "app: web", "app: bew")},
		"Service": {
			"apiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: NS}\nspec: {ports: [{port: 80}]}",
			"apiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: NS}\nspec: {clusterIP: None, ports: [{port: 80}]}",
		},
		"RoleBinding": {
			"apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: r, namespace: NS}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: a}",
			"apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: r, namespace: NS}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: b}",
		},
		"ConfigMap": {
			"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: NS}\nimmutable: true\ndata: {a: b}",
			"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: NS}\nimmutable: true\ndata: {a: c}",
		},
		"PersistentVolumeClaim": {
			"apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: p, namespace: NS}\nspec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}",
			"apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: p, namespace: NS}\nspec: {accessModes: [ReadWriteMany], resources: {requests: {storage: 1Gi}}}",
		},
	}
	c := start(t)
	for kind, manifests := range cases {
		t.Run(kind, func(t *testing.T) {
			before, after := c.parse(strings.ReplaceAll(manifests[0], "OPTIONS", "")), c.parse(strings.ReplaceAll(manifests[1], "OPTIONS", ""))
			c.sync(before)
			_, err := c.writer.DryRun(t.Context(), after, c.live(after))
			if !errors.Is(err, apply.ErrImmutable) || mizzen.KindOf(err) != mizzen.Conflict || !strings.Contains(err.Error(), "Replace=true") {
				t.Errorf("error: %v", err)
			}
		})
	}
	t.Run("Replace=true", func(t *testing.T) {
		before, after := c.parse(strings.NewReplacer("IMAGE", "a", "OPTIONS", "Replace=true").Replace(job)), c.parse(strings.NewReplacer("IMAGE", "b", "OPTIONS", "Replace=true").Replace(job))
		c.sync(before)
		old := c.live(before).GetUID()
		options, _ := mizzen.OptionsOf(after.Unstructured)
		_, err := c.writer.Run(t.Context(), &mizzen.Plan{Changes: []mizzen.Change{{
			Ref: after.Ref(), APIVersion: "batch/v1", Action: mizzen.Replace, Desired: &after, UID: string(old), Options: options,
		}}}, apply.RunOptions{})
		must(t, err)
		live := c.live(after)
		if got := field(t, live, "spec.template.spec.containers[0].image"); got != "b" || live.GetUID() == old {
			t.Errorf("image %v, uid %s after %s", got, live.GetUID(), old)
		}
		// An update that turns out to be impossible in place does the same.
		_, err = c.writer.Run(t.Context(), &mizzen.Plan{Changes: []mizzen.Change{{
			Ref: before.Ref(), APIVersion: "batch/v1", Action: mizzen.Update, Desired: &before, UID: string(live.GetUID()), Options: options,
		}}}, apply.RunOptions{})
		must(t, err)
		if got := field(t, c.live(after), "spec.template.spec.containers[0].image"); got != "a" {
			t.Errorf("image %v", got)
		}
	})
	t.Run("data is never replaced", func(t *testing.T) {
		obj := c.parse(cases["PersistentVolumeClaim"][1])
		_, err := c.writer.Run(t.Context(), &mizzen.Plan{Changes: []mizzen.Change{{
			Ref: obj.Ref(), APIVersion: "v1", Action: mizzen.Replace, Desired: &obj, UID: string(c.live(obj).GetUID()),
		}}}, apply.RunOptions{})
		if mizzen.KindOf(err) != mizzen.Refused || c.live(obj).GetDeletionTimestamp() != nil {
			t.Errorf("error: %v", err)
		}
	})
}

func TestSecretsStayHidden(t *testing.T) {
	c := start(t)
	secret := c.parse("apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: NS}\ndata: {pin: 4711}")
	_, err := c.writer.Apply(t.Context(), secret, apply.ObjectOptions{})
	if mizzen.KindOf(err) != mizzen.Invalid || strings.Contains(fmt.Sprintf("%v %+v", err, err), "4711") {
		t.Errorf("error: %v", err)
	}
	if !strings.Contains(err.Error(), ".data.pin") {
		t.Errorf("the error does not name the field: %v", err)
	}
}

func TestMissingNamespaceAndKind(t *testing.T) {
	c := start(t)
	obj := c.parse("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: NS-none}")
	_, err := c.writer.Apply(t.Context(), obj, apply.ObjectOptions{})
	if mizzen.KindOf(err) != mizzen.NotFound || !strings.Contains(err.Error(), "createNamespace") {
		t.Errorf("namespace: %v", err)
	}
	_, err = c.writer.Apply(t.Context(), c.widget("nowhere.example.com", ""), apply.ObjectOptions{})
	if mizzen.KindOf(err) != mizzen.NotFound {
		t.Errorf("kind: %v", err)
	}
}

func TestDeletionNeedsTheJudgedObject(t *testing.T) {
	c := start(t)
	obj := c.configMap("c", "")
	c.sync(obj)
	change := c.removal(obj, mizzen.Delete)
	c.remove(obj)
	c.sync(obj)
	_, err := c.writer.Run(t.Context(), &mizzen.Plan{Changes: []mizzen.Change{change}}, apply.RunOptions{})
	if !errors.Is(err, apply.ErrStale) || c.live(obj) == nil {
		t.Errorf("error: %v", err)
	}
	change.UID = ""
	_, err = c.writer.Run(t.Context(), &mizzen.Plan{Changes: []mizzen.Change{change}}, apply.RunOptions{})
	if mizzen.KindOf(err) != mizzen.Internal || c.live(obj) == nil {
		t.Errorf("without a UID: %v", err)
	}
}

func TestFinalizersAreNamed(t *testing.T) {
	c := start(t)
	obj := c.parse("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: NS, finalizers: [example.com/hold]}")
	c.sync(obj)
	c.remove(obj)
	p := &mizzen.Plan{Changes: []mizzen.Change{{Ref: obj.Ref(), APIVersion: "v1", Action: mizzen.Update, Desired: &obj}}}
	_, err := c.writer.Run(t.Context(), p, apply.RunOptions{WaveTimeout: 5 * time.Second})
	if mizzen.KindOf(err) != mizzen.Timeout || !strings.Contains(err.Error(), "example.com/hold") {
		t.Errorf("error: %v", err)
	}
	// Once it is gone, it is created again.
	time.AfterFunc(200*time.Millisecond, func() { c.as("kubectl", obj, `{"metadata":{"finalizers":null}}`) })
	_, err = c.writer.Run(t.Context(), p, apply.RunOptions{})
	must(t, err)
	if live := c.live(obj); live == nil || live.GetDeletionTimestamp() != nil {
		t.Errorf("live: %v", live)
	}
	c.as("kubectl", obj, `{"metadata":{"finalizers":null}}`)
}

// flaky answers as an API server in trouble does.
func flaky(t *testing.T, answers ...http.HandlerFunc) (*apply.Applier, *atomic.Int32) {
	t.Helper()
	var calls atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answers[min(int(calls.Add(1)), len(answers))-1](w, r)
	}))
	t.Cleanup(server.Close)
	// A clock that jumps: the test waits for nothing.
	clock := clocktesting.NewFakeClock(time.Unix(0, 0))
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	go func() {
		for {
			select {
			case <-stop:
				return
			default:
				if clock.HasWaiters() {
					clock.Step(time.Minute)
				}
				time.Sleep(time.Millisecond)
			}
		}
	}()
	a, err := apply.New(&rest.Config{Host: server.URL}, apply.Options{Mapper: (&cluster{}).coreMapper, Clock: clock})
	must(t, err)
	return a, &calls
}

func status(s metav1.Status) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		s.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(int(s.Code))
		_ = json.NewEncoder(w).Encode(s)
	}
}

func hangUp(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		_ = conn.Close()
	}
}

func fine(w http.ResponseWriter, _ *http.Request) {
	_, _ = w.Write([]byte(`{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"name":"c","uid":"u"}}`))
}

func TestRetries(t *testing.T) {
	obj := (&cluster{t: t, namespace: "ns"}).configMap("c", "")
	cases := map[string]struct {
		answers []http.HandlerFunc
		calls   int32
		kind    mizzen.Kind
	}{
		"overload":          {[]http.HandlerFunc{status(metav1.Status{Code: 429}), status(metav1.Status{Code: 503}), fine}, 3, ""},
		"broken connection": {[]http.HandlerFunc{hangUp, fine}, 2, ""},
		"webhook failure":   {[]http.HandlerFunc{status(metav1.Status{Code: 500, Reason: "InternalError", Message: "failed calling webhook"}), fine}, 2, ""},
		"concurrent write":  {[]http.HandlerFunc{status(metav1.Status{Code: 409, Reason: "Conflict"}), fine}, 2, ""},
		"creation race":     {[]http.HandlerFunc{status(metav1.Status{Code: 409, Reason: "AlreadyExists"}), fine}, 2, ""},
		"never well":        {[]http.HandlerFunc{status(metav1.Status{Code: 503})}, 6, mizzen.Unreachable},
		"proxy page":        {[]http.HandlerFunc{func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", http.StatusBadGateway) }}, 6, mizzen.Unreachable},
		"malformed object":  {[]http.HandlerFunc{status(metav1.Status{Code: 500, Message: "failed to create typed patch object"})}, 1, mizzen.Invalid},
		"invalid object":    {[]http.HandlerFunc{status(metav1.Status{Code: 422, Reason: "Invalid"})}, 1, mizzen.Invalid},
		"bad credentials":   {[]http.HandlerFunc{status(metav1.Status{Code: 401, Reason: "Unauthorized"})}, 1, mizzen.Forbidden},
		"strange answer":    {[]http.HandlerFunc{func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }}, 1, mizzen.Unreachable},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			a, calls := flaky(t, c.answers...)
			_, err := a.Apply(t.Context(), obj, apply.ObjectOptions{})
			if got := mizzen.KindOf(err); got != c.kind || calls.Load() != c.calls {
				t.Errorf("%v after %d calls: %v", got, calls.Load(), err)
			}
			if err != nil && !strings.Contains(err.Error(), "; ") {
				t.Errorf("no remedy: %v", err)
			}
		})
	}
}
