package beside_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/engine/beside"
	"mizzen.dev/mizzen/internal/labtest"
	"mizzen.dev/mizzen/internal/live"
)

// content is what a namespace holds; names of what matters begin with "kept".
// OWNER is the UID of the Deployment.
const content = `
apiVersion: v1
kind: Service
metadata: {name: kept}
spec: {ports: [{port: 80}]}
---
apiVersion: v1
kind: Secret
metadata: {name: secret}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
---
apiVersion: v1
kind: Pod
metadata: {name: kept-alone}
spec: {containers: [{name: app, image: a}]}
---
apiVersion: v1
kind: Pod
metadata:
  name: made
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web, uid: "1", controller: true}]
spec: {containers: [{name: app, image: a}]}
---
apiVersion: v1
kind: Service
metadata:
  name: kept-of-a-canary
  ownerReferences: [{apiVersion: flagger.app/v1beta1, kind: Canary, name: web, uid: "1", controller: true}]
spec: {ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata:
  name: of-a-gateway
  ownerReferences: [{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, name: web, uid: "1", controller: true}]
spec: {ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: without-pods}
spec: {replicas: 0, selector: {matchLabels: {app: a}}, template: {metadata: {labels: {app: a}}, spec: {containers: [{name: app, image: a}]}}}
`

// requests notes the paths that a client asks for.
type requests struct {
	next http.RoundTripper
	mu   sync.Mutex
	all  []string
}

func (r *requests) RoundTrip(q *http.Request) (*http.Response, error) {
	r.mu.Lock()
	r.all = append(r.all, q.Method+" "+q.URL.Path)
	r.mu.Unlock()
	return r.next.RoundTrip(q)
}

func TestRead(t *testing.T) {
	lab := labtest.Start(t, labtest.ControlPlane)
	writer, err := client.New(lab.Config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for text := range strings.SplitSeq(content, "\n---\n") {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
			t.Fatal(err)
		}
		o.SetNamespace(lab.Namespace)
		// The account of a new namespace comes a little later.
		labtest.Eventually(t, "create "+o.GetName(), func(ctx context.Context) bool {
			err = writer.Create(ctx, o)
			return err == nil
		})
	}
	seen := &requests{}
	config := rest.CopyConfig(lab.Config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { seen.next = next; return seen })
	cluster, err := live.New(config, live.Options{})
	if err != nil {
		t.Fatal(err)
	}
	objects, err := beside.Read(t.Context(), cluster)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range objects {
		if o.GetNamespace() == lab.Namespace {
			got = append(got, o.GetKind()+" "+o.GetName())
			if len(o.GetManagedFields()) > 0 {
				t.Errorf("%s comes with managedFields", o.Ref())
			}
		}
	}
	if diff := cmp.Diff([]string{"Pod kept-alone", "Service kept", "Service kept-of-a-canary"}, got); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
	if !slices.ContainsFunc(objects, func(o mizzen.Object) bool { return o.Ref() == (mizzen.Ref{Kind: "Namespace", Name: lab.Namespace}) }) {
		t.Error("the namespace is missing")
	}
	for _, path := range seen.all {
		if !strings.HasPrefix(path, "GET ") || strings.Contains(path, "secret") || path == "GET /api/v1/configmaps" {
			t.Errorf("it asks for %s", path)
		}
	}
}

func TestOf(t *testing.T) {
	object := func(name string) mizzen.Object {
		return mizzen.Object{Unstructured: &unstructured.Unstructured{Object: map[string]any{"kind": "Service", "metadata": map[string]any{"name": name}}}}
	}
	found := beside.Of([]mizzen.Object{object("a"), object("b"), object("c")}, []mizzen.Object{object("a")}, []mizzen.Object{object("c"), object("d")})
	if len(found) != 1 || found[0].GetName() != "b" {
		t.Errorf("%v", found)
	}
}
