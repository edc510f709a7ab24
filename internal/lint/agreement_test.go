package lint_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/labtest"
	"mizzen.dev/mizzen/internal/lint"
	"mizzen.dev/mizzen/internal/lint/archive"
	"mizzen.dev/mizzen/internal/lint/schemas"
)

// apiServer is a real kube-apiserver with the custom resources of the corpus.
type apiServer struct {
	namespace string
	client    dynamic.Interface
	discovery *discovery.DiscoveryClient
	mapper    *restmapper.DeferredDiscoveryRESTMapper
}

func startServer(t *testing.T) *apiServer {
	// A lab of its own: other tests do without these definitions.
	l := labtest.Private(t, labtest.ControlPlane)
	l.Config.WarningHandler = rest.NoWarnings{}
	d := discovery.NewDiscoveryClientForConfigOrDie(l.Config)
	s := &apiServer{
		namespace: l.Namespace, client: dynamic.NewForConfigOrDie(l.Config), discovery: d,
		mapper: restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(d)),
	}
	archives, err := schemas.Archives()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range archives[1:] {
		for _, crd := range definitionsOf(t, a) {
			if err := s.apply(t.Context(), crd, ""); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, o := range corpus(t, "mesh.yaml") {
		labtest.Eventually(t, "the API server to serve "+o.GetKind(), func(ctx context.Context) bool {
			return s.apply(ctx, o.Object, "All") == nil
		})
	}
	return s
}

// definitionsOf makes installable definitions of an archive's kinds.
func definitionsOf(t *testing.T, a *archive.Archive) []map[string]any {
	t.Helper()
	crds := map[schema.GroupKind]*apiextensionsv1.CustomResourceDefinition{}
	kinds := a.Kinds()
	slices.SortFunc(kinds, func(a, b archive.Kind) int { return strings.Compare(a.Version, b.Version) })
	for _, k := range kinds {
		gk := schema.GroupKind{Group: k.Group, Kind: k.Kind}
		crd := crds[gk]
		if crd == nil {
			crd = &apiextensionsv1.CustomResourceDefinition{}
			crd.APIVersion, crd.Kind = apiextensionsv1.SchemeGroupVersion.String(), "CustomResourceDefinition"
			plural := strings.ToLower(k.Kind) + "s"
			crd.Name = plural + "." + k.Group
			crd.Annotations = map[string]string{"api-approved.kubernetes.io": "unapproved, for a test"}
			crd.Spec.Group, crd.Spec.Names = k.Group, apiextensionsv1.CustomResourceDefinitionNames{Kind: k.Kind, Plural: plural}
			crd.Spec.Scope = apiextensionsv1.ClusterScoped
			if k.Namespaced {
				crd.Spec.Scope = apiextensionsv1.NamespaceScoped
			}
			crds[gk] = crd
		}
		definitions, err := a.Definitions(k.Definition)
		if err != nil {
			t.Fatal(err)
		}
		crd.Spec.Versions = append(crd.Spec.Versions, apiextensionsv1.CustomResourceDefinitionVersion{
			Name: k.Version, Served: true, Storage: len(crd.Spec.Versions) == 0,
			Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: definitions[k.Definition]},
		})
	}
	var objects []map[string]any
	for _, crd := range crds {
		object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(crd)
		if err != nil {
			t.Fatal(err)
		}
		delete(object, "status")
		objects = append(objects, object)
	}
	return objects
}

// apply is what a sync does; with dryRun "All" it only asks.
func (s *apiServer) apply(ctx context.Context, object map[string]any, dryRun string) error {
	u := &unstructured.Unstructured{Object: object}
	gvk := u.GroupVersionKind()
	mapping, err := s.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if meta.IsNoMatchError(err) {
		s.mapper.Reset()
	}
	if err != nil {
		return err
	}
	var r dynamic.ResourceInterface = s.client.Resource(mapping.Resource)
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		r = s.client.Resource(mapping.Resource).Namespace(s.namespace)
	}
	b, err := json.Marshal(object)
	if err != nil {
		return err
	}
	force := true
	options := metav1.PatchOptions{FieldManager: "lint", Force: &force, FieldValidation: metav1.FieldValidationStrict}
	if dryRun != "" {
		options.DryRun = []string{dryRun}
	}
	_, err = r.Patch(ctx, u.GetName(), types.ApplyPatchType, b, options)
	return err
}

func (s *apiServer) document(_ context.Context, gv schema.GroupVersion) ([]byte, error) {
	paths, err := s.discovery.OpenAPIV3().Paths()
	if err != nil {
		return nil, err
	}
	path := "apis/" + gv.String()
	if gv.Group == "" {
		path = "api/" + gv.Version
	}
	if paths[path] == nil {
		return nil, &mizzen.Error{Kind: mizzen.NotFound, Object: gv.String(), Err: errors.New("not served")}
	}
	return paths[path].Schema(runtime.ContentTypeJSON)
}

func check(t testing.TB, s lint.Schemas, object map[string]any) []mizzen.Finding {
	t.Helper()
	findings, err := lint.Check(t.Context(), []mizzen.Object{{Unstructured: &unstructured.Unstructured{Object: object}}}, s)
	if err != nil {
		t.Error(err)
	}
	return findings
}

// Every field of every object of the corpus is changed in every way, some
// 5,000 times, and our verdict compared with that of a server-side dry-run.
//
// We never refuse what the server accepts. For custom resources we refuse all
// that it refuses. For Kubernetes' own kinds we refuse all that it cannot
// decode; what only the code behind its 422 answers knows (a port that is out
// of range, a selector that does not match the template, a volume that does
// not exist, an absent image) is left to the dry-run.
func TestAgreement(t *testing.T) {
	server := startServer(t)
	cluster := lint.FromCluster(server.document)
	tally := &tally{missed: map[string]int{}}
	var group errgroup.Group
	group.SetLimit(4)
	for _, o := range corpus(t, "*.yaml") {
		if findings := check(t, lint.Offline(), o.Object); len(findings) > 0 {
			t.Errorf("a valid %s has findings: %v", o.Ref(), findings)
		}
		for _, m := range mutations(o.Object) {
			if slices.Contains([]mizzen.Path{"apiVersion", "kind", "metadata", "metadata.name"}, m.path) {
				continue // these decide where the request goes
			}
			group.Go(func() error {
				agree(t, server, cluster, o, m, tally)
				return nil
			})
		}
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	tally.judge(t)
	agreeOnNames(t, server)
}

func agree(t *testing.T, server *apiServer, cluster *lint.Cluster, o mizzen.Object, m mutation, tally *tally) {
	at := fmt.Sprintf("%s of %s %s", m.how, o.GetKind(), m.path)
	findings := check(t, lint.Offline(), m.object)
	if live := check(t, cluster, m.object); !cmp.Equal(findings, live) {
		t.Errorf("%s: the cluster's schema says otherwise: %s", at, cmp.Diff(findings, live))
	}
	ours, theirs := mizzen.Worst(findings) == mizzen.Fatal, server.apply(t.Context(), m.object, "All")
	onlyServer := !ours && apierrors.IsInvalid(theirs) && !isCustom(o)
	tally.add(theirs != nil, onlyServer, m.how)
	switch {
	case ours && theirs == nil:
		t.Errorf("%s: the server accepts it, but: %s", at, findings[0].Message)
	case !ours && theirs != nil && !onlyServer:
		t.Errorf("%s: not found, but the server says: %v", at, theirs)
	}
}

// tally counts what the server refuses, and what of it we did not find.
type tally struct {
	mu      sync.Mutex
	refused int
	missed  map[string]int
}

func (c *tally) add(refused, missed bool, how string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if refused {
		c.refused++
	}
	if missed {
		c.missed[how]++
	}
}

func (c *tally) judge(t *testing.T) {
	missed := 0
	for _, n := range c.missed {
		missed += n
	}
	t.Logf("of %d refusals, %d are known to the server alone: %v", c.refused, missed, c.missed)
	if c.refused < 3000 || missed*6 > c.refused {
		t.Errorf("%d of %d refusals are not found; an eighth was usual", missed, c.refused)
	}
}

// isCustom tells kinds that a definition defines.
func isCustom(o mizzen.Object) bool {
	group := o.GroupVersionKind().Group
	return group == mizzen.Group || strings.HasSuffix(group, ".istio.io") || strings.HasPrefix(group, "gateway.networking.")
}

// agreeOnNames compares verdicts on names. Some kinds are stricter than the
// rest of their group.
func agreeOnNames(t *testing.T, server *apiServer) {
	names := []string{"web-1", "web.1", "1web", "Web", "a_b", "a:b", "-a", strings.Repeat("a", 64), strings.Repeat("a", 254)}
	for _, o := range corpus(t, "*.yaml") {
		for _, name := range names {
			c := o.DeepCopy()
			c.SetName(name)
			ours, theirs := mizzen.Worst(check(t, lint.Offline(), c.Object)) == mizzen.Fatal, server.apply(t.Context(), c.Object, "All")
			switch {
			case ours && theirs == nil:
				t.Errorf("%s %q: the server accepts the name", o.GetKind(), name)
			case !ours && theirs != nil && !apierrors.IsInvalid(theirs):
				t.Errorf("%s %q: %v", o.GetKind(), name, theirs)
			}
		}
	}
}
