package archive

import (
	"bytes"
	"compress/gzip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

const doc = `{
"paths": {
  "/apis/apps/v1/namespaces/{namespace}/deployments": {"post": {
    "x-kubernetes-group-version-kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
    "requestBody": {"content": {"*/*": {"schema": {"$ref": "#/components/schemas/io.k8s.api.apps.v1.Deployment"}}}}}},
  "/apis/apps/v1/namespaces/{namespace}/pods/{name}/eviction": {"post": {
    "x-kubernetes-group-version-kind": {"group": "policy", "version": "v1", "kind": "Eviction"},
    "requestBody": {"content": {"*/*": {"schema": {"$ref": "#/components/schemas/io.k8s.api.policy.v1.Eviction"}}}}}},
  "/apis/example.com/v1/things": {"post": {
    "x-kubernetes-group-version-kind": {"group": "example.com", "version": "v1", "kind": "Thing"},
    "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/com.example.v1.Thing"}}}}}}
},
"components": {"schemas": {
  "io.k8s.api.apps.v1.Deployment": {"description": "Long.", "type": "object", "properties": {
    "spec": {"description": "Longer.", "default": {}, "allOf": [{"$ref": "#/components/schemas/io.k8s.api.apps.v1.DeploymentSpec"}]}}},
  "io.k8s.api.apps.v1.DeploymentSpec": {"type": "object", "required": ["b", "a"], "properties": {
    "again": {"$ref": "#/components/schemas/io.k8s.api.apps.v1.Deployment"}}},
  "io.k8s.api.apps.v1.Unreached": {"type": "object"},
  "io.k8s.api.policy.v1.Eviction": {"type": "object"},
  "com.example.v1.Thing": {"type": "object", "properties": {"size": {"type": "integer", "default": 3}}}
}}}`

func text(s string) *string { return &s }

func TestFromOpenAPI(t *testing.T) {
	packed, err := FromOpenAPI([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	a, err := Open(packed.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	kinds := a.Kinds()
	slices.SortFunc(kinds, func(a, b Kind) int { return strings.Compare(a.Group, b.Group) })
	want := []Kind{
		{Group: "apps", Version: "v1", Kind: "Deployment", Namespaced: true, Definition: "io.k8s.api.apps.v1.Deployment"},
		{Group: "example.com", Version: "v1", Kind: "Thing", Custom: true, Definition: "com.example.v1.Thing"},
	}
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Errorf("kinds (-want +got):\n%s", diff)
	}
	got, err := a.Definitions("io.k8s.api.apps.v1.Deployment")
	if err != nil {
		t.Fatal(err)
	}
	wantDefinitions := Definitions{
		"io.k8s.api.apps.v1.Deployment": {Type: "object", Properties: map[string]apiextensionsv1.JSONSchemaProps{
			"spec": {Ref: text("io.k8s.api.apps.v1.DeploymentSpec")},
		}},
		"io.k8s.api.apps.v1.DeploymentSpec": {Type: "object", Required: []string{"a", "b"}, Properties: map[string]apiextensionsv1.JSONSchemaProps{
			"again": {Ref: text("io.k8s.api.apps.v1.Deployment")},
		}},
	}
	if diff := cmp.Diff(wantDefinitions, got); diff != "" {
		t.Errorf("definitions (-want +got):\n%s", diff)
	}
	thing, err := a.Definitions("com.example.v1.Thing")
	if err != nil || thing["com.example.v1.Thing"].Properties["size"].Default == nil {
		t.Errorf("the default of a custom resource is lost: %v, %v", thing, err)
	}
	if _, ok := a.Find(schema.GroupVersionKind{Group: "policy", Version: "v1", Kind: "Eviction"}); ok {
		t.Error("a subresource is a kind")
	}
}

func TestDeterministic(t *testing.T) {
	var first []byte
	for range 5 {
		a, err := FromOpenAPI([]byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = a.Bytes()
		}
		if !bytes.Equal(first, a.Bytes()) {
			t.Fatal("the same document gives different bytes")
		}
	}
}

// Two versions with one schema take the room of one.
func TestFromCRDs(t *testing.T) {
	crd := &apiextensionsv1.CustomResourceDefinition{}
	crd.Spec.Group, crd.Spec.Scope = "example.com", apiextensionsv1.NamespaceScoped
	crd.Spec.Names.Kind = "Thing"
	for _, name := range []string{"v1", "v1beta1", "v0"} {
		crd.Spec.Versions = append(crd.Spec.Versions, apiextensionsv1.CustomResourceDefinitionVersion{
			Name: name, Served: name != "v0",
			Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object", Description: name}},
		})
	}
	a, err := FromCRDs(crd)
	if err != nil {
		t.Fatal(err)
	}
	kinds := a.Kinds()
	if len(kinds) != 2 || kinds[0].Definition != kinds[1].Definition || !kinds[0].Custom || !kinds[0].Namespaced {
		t.Errorf("kinds = %v", kinds)
	}
	definitions, err := a.Definitions(kinds[0].Definition)
	if err != nil || len(definitions) != 1 {
		t.Errorf("definitions = %v, %v", definitions, err)
	}
}

func pack(t testing.TB, s string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestBroken(t *testing.T) {
	if _, err := FromOpenAPI([]byte("{")); err == nil {
		t.Error("half a document is accepted")
	}
	for name, b := range map[string][]byte{
		"no gzip": []byte("k\t{}"), "kind": pack(t, "k\t{\n"), "short line": pack(t, "k\n"),
	} {
		if _, err := Open(b); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for name, s := range map[string]string{"no name": "d\t{}\n", "schema": "d\ta\t{\n"} {
		a, err := Open(pack(t, s))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Definitions("a"); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzFromOpenAPI(f *testing.F) {
	f.Add([]byte(doc))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := FromOpenAPI(b)
		if err != nil {
			return
		}
		again, err := Open(a.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range again.Kinds() {
			if _, err := again.Definitions(k.Definition); err != nil {
				t.Fatal(err)
			}
		}
	})
}
