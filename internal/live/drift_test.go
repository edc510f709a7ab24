package live

import (
	"context"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/labtest"
)

var (
	configMaps     = schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}
	deployments    = schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}
	services       = schema.GroupVersionKind{Version: "v1", Kind: "Service"}
	endpointSlices = schema.GroupVersionKind{Group: "discovery.k8s.io", Version: "v1", Kind: "EndpointSlice"}
	peers          = schema.GroupVersionKind{Group: "security.istio.io", Version: "v1", Kind: "PeerAuthentication"}
	policies       = schema.GroupVersionKind{Group: "security.istio.io", Version: "v1", Kind: "AuthorizationPolicy"}
)

const configMap = `
apiVersion: v1
kind: ConfigMap
metadata: {name: web}
data: {a: "1", b: "2"}
`

const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: "example.test/web:1"}]
`

func TestDriftOfConfigMap(t *testing.T) {
	cases := []struct {
		name string
		edit func(l *lab)
		want []string
	}{
		{"a value changed", func(l *lab) {
			l.patches(configMaps, "web", "kubectl-edit", "", `{"data":{"a":"x"}}`)
		}, []string{`Changed ConfigMap NS/web by ["kubectl-edit"]: ["data.a"]`}},
		{"a key deleted", func(l *lab) {
			l.patches(configMaps, "web", "kubectl-edit", "", `{"data":{"a":null}}`)
		}, []string{`Changed ConfigMap NS/web`}},
		{"a key added", func(l *lab) {
			l.patches(configMaps, "web", "kubectl-edit", "", `{"data":{"c":"x"}}`)
		}, []string{`Foreign ConfigMap NS/web by ["kubectl-edit"]: ["data.c"]`}},
		{"forced apply by another", func(l *lab) {
			o := l.parse(configMap)
			o.Object["data"] = map[string]any{"a": "9"}
			l.appliesAs("argocd-controller", o)
		}, []string{`Changed ConfigMap NS/web by ["argocd-controller"]: ["data.a"]`}},
		{"our field manager, by another installation", func(l *lab) {
			o := l.parse(configMap)
			o.Object["data"] = map[string]any{"a": "9"}
			l.appliesAs(mizzen.Manager("other"), o)
		}, []string{`Changed ConfigMap NS/web by ["mizzen-other"]: ["data.a"]`}},
		{"the same values applied by another", func(l *lab) {
			l.appliesAs("argocd-controller", l.parse(configMap))
		}, nil},
		{"a foreign label", func(l *lab) {
			l.patches(configMaps, "web", "kubectl-label", "", `{"metadata":{"labels":{"team":"a"}}}`)
		}, nil},
		{"our annotation changed", func(l *lab) {
			l.patches(configMaps, "web", "kubectl-annotate", "", `{"metadata":{"annotations":{"mizzen.dev/owner":"x/y"}}}`)
		}, []string{`Changed ConfigMap NS/web by ["kubectl-annotate"]: ["metadata.annotations[\"mizzen.dev/owner\"]"]`}},
		{"our label removed", func(l *lab) {
			l.patches(configMaps, "web", "kubectl-label", "", `{"metadata":{"labels":{"mizzen.dev/managed":null}}}`)
		}, []string{`Unlabelled ConfigMap NS/web`}},
		{"managedFields cleared", func(l *lab) {
			l.patches(configMaps, "web", "kubectl-edit", "", `{"metadata":{"managedFields":[{}]}}`)
		}, []string{`Changed ConfigMap NS/web`}},
		{"deleted", func(l *lab) { l.deletes(configMaps, "web") }, []string{`Gone ConfigMap NS/web`}},
		{"deleted and made again by hand, labels and all", func(l *lab) {
			o := l.owned(l.parse(configMap))
			l.deletes(configMaps, "web")
			if _, err := l.client(configMaps).Create(l.t.Context(), o, metav1.CreateOptions{FieldManager: "kubectl-create"}); err != nil {
				l.t.Fatal(err)
			}
		}, []string{`Gone ConfigMap NS/web`}},
		{"copied with its labels", func(l *lab) {
			o := l.owned(l.parse(configMap))
			o.SetName("copy")
			if _, err := l.client(configMaps).Create(l.t.Context(), o, metav1.CreateOptions{FieldManager: "kubectl-create"}); err != nil {
				l.t.Fatal(err)
			}
			l.deletes(configMaps, "copy")
		}, nil},
	}
	l := newLab(t, configMaps)
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			l.t = t
			ref := l.applies(configMap)
			tc.edit(l)
			l.wants(tc.want...)
			l.wantsNothing(configMaps, configMap)
			// A sync brings it back, and that is no news.
			l.applies(configMap)
			l.wantsNothing(configMaps, configMap)
			l.prunes(configMaps, ref)
		})
	}
}

func TestDriftOfDeployment(t *testing.T) {
	unsized := strings.Replace(deployment, "  replicas: 2\n", "", 1)
	cases := []struct {
		name, manifest string
		edit           func(l *lab)
		want           []string
	}{
		{"scaled by hand", deployment, func(l *lab) {
			l.patches(deployments, "web", "kubectl", "scale", `{"spec":{"replicas":3}}`)
		}, []string{`Changed apps/Deployment NS/web by ["kubectl"]: ["spec.replicas"]`}},
		{"scaled by the HPA", deployment, func(l *lab) {
			l.patches(deployments, "web", "kube-controller-manager", "scale", `{"spec":{"replicas":3}}`)
		}, nil},
		{"scaled by the HPA, replicas not in Git", unsized, func(l *lab) {
			l.patches(deployments, "web", "kube-controller-manager", "scale", `{"spec":{"replicas":3}}`)
		}, nil},
		{"image set", deployment, func(l *lab) {
			o := l.parse(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"},"spec":{"template":{"spec":{"containers":[{"name":"web","image":"example.test/web:2"}]}}}}`)
			l.appliesAs("kubectl-set", o)
		}, []string{`Changed apps/Deployment NS/web by ["kubectl-set"]: ["spec.template.spec.containers[name=web].image"]`}},
		{"container added", deployment, func(l *lab) {
			o := l.parse(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"},"spec":{"template":{"spec":{"containers":[{"name":"bad","image":"example.test/bad"}]}}}}`)
			l.appliesAs("intruder", o)
		}, []string{`Foreign apps/Deployment NS/web by ["intruder"]: ["spec.template.spec.containers[name=bad]"]`}},
	}
	l := newLab(t, deployments)
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			l.t = t
			ref := l.applies(tc.manifest)
			before := l.resourceVersion(deployments, "web")
			tc.edit(l)
			l.wants(tc.want...)
			l.eventually("the edit to be seen", func(context.Context) bool {
				e, _ := l.Lookup(ref)
				return e.Generation > 1 && l.resourceVersion(deployments, "web") != before
			})
			l.wantsNothing(deployments, deployment)
			l.prunes(deployments, ref)
		})
	}
}

func TestHandedOverIsSeen(t *testing.T) {
	l := newLab(t, deployments)
	ref := l.applies(deployment)
	l.patches(deployments, "web", "kube-controller-manager", "scale", `{"spec":{"replicas":3}}`)
	l.eventually("the hand-over", func(context.Context) bool {
		e, _ := l.Lookup(ref)
		return e.Handed
	})
	l.patches(deployments, "web", "kubectl-edit", "", `{"spec":{"paused":true}}`)
	l.wants(`Foreign apps/Deployment NS/web by ["kubectl-edit"]: ["spec.paused"]`)
}

func TestExclusiveKinds(t *testing.T) {
	// A lab of its own, so that nobody takes the small definitions for Istio's.
	own := labtest.Private(t, labtest.ControlPlane)
	l := openLab(t, own.Config, own.Namespace)
	l.installs("testdata/crds/security.yaml")
	l.ensures(peers, policies)
	l.applies(`
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default}
spec: {mtls: {mode: STRICT}}
`)
	l.applies(`
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: deny}
spec: {action: DENY, rules: [{from: [{source: {namespaces: [x]}}]}]}
`)
	l.patches(peers, "default", "kubectl-edit", "", `{"spec":{"portLevelMtls":{"8080":{"mode":"DISABLE"}}}}`)
	e := l.news()
	if e.Type != Foreign || !e.Exclusive || len(e.Fields) != 1 || e.Fields[0] != "spec.portLevelMtls" {
		t.Errorf("got %+v", e)
	}
	l.patches(policies, "deny", "kubectl-edit", "", `{"spec":{"selector":{"matchLabels":{"app":"nobody"}}}}`)
	l.wants(`Foreign security.istio.io/AuthorizationPolicy NS/deny by ["kubectl-edit"]: ["spec.selector"]`)

	objects := l.hashesAgree(Target{peers, l.namespace, "default"}, Target{policies, l.namespace, "deny"})
	delete(objects, mizzen.Ref{Group: policies.Group, Kind: policies.Kind, Namespace: l.namespace, Name: "deny"})
	for ref, o := range objects {
		fields := l.Foreign(ref, o)
		if len(fields) != 1 || fields[0].Path != "spec.portLevelMtls" || fields[0].Manager != "kubectl-edit" {
			t.Errorf("foreign: %+v", fields)
		}
	}
}

// hashesAgree checks that an object and its metadata, which the server encodes
// in other ways, have the same hash, and returns the objects.
func (l *lab) hashesAgree(targets ...Target) map[mizzen.Ref]*unstructured.Unstructured {
	l.t.Helper()
	objects, err := l.Objects(l.t.Context(), targets)
	if err != nil {
		l.t.Fatal(err)
	}
	metadata, err := l.Metadata(l.t.Context(), targets)
	if err != nil {
		l.t.Fatal(err)
	}
	for _, target := range targets {
		x, ok := ManagedHash(objects[target.Ref()].GetManagedFields(), l.manager)
		y, _ := ManagedHash(metadata[target.Ref()].GetManagedFields(), l.manager)
		if !ok || x != y {
			l.t.Errorf("%s: hash is %q from the object, %q from its metadata", target.Ref(), x, y)
		}
	}
	return objects
}

func TestHashesAgree(t *testing.T) {
	l := newLab(t, configMaps, services)
	l.applies(configMap)
	l.applies(`
apiVersion: v1
kind: ConfigMap
metadata: {name: odd, annotations: {"example.test/a": "x"}}
data: {"A.b-c_d": "1", a: "2"}
`)
	l.applies(`
apiVersion: v1
kind: Service
metadata: {name: web, finalizers: [mizzen.dev/z, mizzen.dev/a]}
spec: {ports: [{port: 8080, name: b}, {port: 9, name: a}, {port: 80, protocol: UDP, name: c}]}
`)
	l.hashesAgree(Target{configMaps, l.namespace, "web"}, Target{configMaps, l.namespace, "odd"}, Target{services, l.namespace, "web"})
	l.patches(services, "web", "cleanup", "", `{"metadata":{"finalizers":null}}`)
}

func TestEndpointSlicesInheritLabels(t *testing.T) {
	l := newLab(t, services, endpointSlices)
	o := l.owned(l.parse(`
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
`))
	l.Begin(app)
	got := l.appliesAs(l.manager, o)
	l.End(app)
	var slice *unstructured.Unstructured
	l.eventually("an EndpointSlice with our label", func(ctx context.Context) bool {
		list, err := l.client(endpointSlices).List(ctx, metav1.ListOptions{LabelSelector: mizzen.LabelManaged + "=" + l.installation})
		if err != nil || len(list.Items) == 0 {
			return false
		}
		slice = &list.Items[0]
		return true
	})
	if _, ownership := l.Owner(mizzen.RefOf(slice), slice); ownership != Copy {
		t.Errorf("the slice is %s", ownership)
	}
	if name, ownership := l.Owner(mizzen.RefOf(got), got); ownership != Ours || name != app {
		t.Errorf("the Service is %s of %s", ownership, name)
	}
	if _, ok := l.Lookup(mizzen.RefOf(slice)); ok {
		t.Error("the slice counts as ours")
	}
}

func (l *lab) resourceVersion(gvk schema.GroupVersionKind, name string) string {
	l.t.Helper()
	o, err := l.client(gvk).Get(l.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		l.t.Fatal(err)
	}
	return o.GetResourceVersion()
}
