package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/crds"
	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/report"
)

// need is a permission that some verbs need.
type need struct {
	verbs           []string
	group, resource string
	namespace       string
	// name restricts it to one object.
	name string
	// without says what does not work without it.
	without string
	// vital needs make the check fail, others only warn.
	vital bool
}

func (d *doctor) needs() []need {
	ns := d.app.kube.defaultNamespace()
	return []need{
		{verbs: []string{"get", "list", "watch"}, group: mizzen.Group, resource: "applications", namespace: ns, without: "no verb works", vital: true},
		{verbs: []string{"get", "list"}, group: mizzen.Group, resource: "repositories", namespace: ns, without: "plan and status work in a clone only"},
		{verbs: []string{"get"}, group: mizzen.Group, resource: "inventories", namespace: ns, without: "plan and tree do not work for large applications"},
		{verbs: []string{"patch"}, group: mizzen.Group, resource: "applications", namespace: ns, without: "sync, rollback, suspend and resume do not work"},
		{verbs: []string{"get"}, resource: "secrets", namespace: mizzen.SystemNamespace, name: "mizzen-plan-key", without: "plan hides changes of Secrets, and its digest may differ from the controller's"},
		{verbs: []string{"get"}, group: "coordination.k8s.io", resource: "leases", namespace: mizzen.SystemNamespace, without: "it cannot be told whether a controller runs"},
		{verbs: []string{"list", "watch"}, group: "events.k8s.io", resource: "events", namespace: ns, without: "events does not work"},
	}
}

// permissions asks what the user may do.
func (d *doctor) permissions(ctx context.Context, c client.Client) {
	refused := 0
	for _, n := range d.needs() {
		for _, verb := range n.verbs {
			allowed, err := allowed(ctx, c, n, verb)
			if err != nil {
				d.warn("permissions", "they cannot be asked for: "+err.Error(), "")
				return
			}
			if allowed {
				continue
			}
			refused++
			message := fmt.Sprintf("you may not %s %s in namespace %s: %s", verb, strings.TrimSuffix(n.resource+"."+n.group, "."), n.namespace, n.without)
			remedy := "ask for the permission, or use another --context"
			if n.vital {
				d.fail("permissions", message, remedy)
			} else {
				d.warn("permissions", message, remedy)
			}
		}
	}
	if refused == 0 {
		d.ok("permissions", "all that the command line needs in namespace %s", d.app.kube.defaultNamespace())
	}
}

func allowed(ctx context.Context, c client.Client, n need, verb string) (bool, error) {
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: n.namespace, Verb: verb, Group: n.group, Resource: n.resource, Name: n.name,
		},
	}}
	err := c.Create(ctx, review)
	return review.Status.Allowed, err
}

// crds compares the CRDs with those of this binary. It returns false if they
// are missing, so that nothing can be listed.
func (d *doctor) crds(ctx context.Context, c client.Client) bool {
	files, err := crds.Files.ReadDir(".")
	if err != nil {
		d.fail("crds", err.Error(), "reinstall mizzen")
		return false
	}
	stale := []string{}
	for _, f := range files {
		wanted, err := crd(f.Name())
		if err != nil {
			d.fail("crds", err.Error(), "reinstall mizzen")
			return false
		}
		installed := &unstructured.Unstructured{}
		installed.SetGroupVersionKind(wanted.GroupVersionKind())
		err = c.Get(ctx, client.ObjectKeyFromObject(wanted), installed)
		switch {
		case apierrors.IsNotFound(err):
			d.fail("crds", wanted.GetName()+" is not installed", "run 'mizzen up'")
			return false
		case err != nil:
			d.warn("crds", err.Error(), "ask for the permission to read CustomResourceDefinitions")
			return true
		case !equality.Semantic.DeepEqual(schemas(wanted), schemas(installed)):
			stale = append(stale, wanted.GetName())
		}
	}
	if len(stale) > 0 {
		d.warn("crds", strings.Join(stale, ", ")+" are of another version of Mizzen", "run 'mizzen up' of this version")
	} else {
		d.ok("crds", "%d, as in this version", len(files))
	}
	return true
}

func crd(file string) (*unstructured.Unstructured, error) {
	b, err := crds.Files.ReadFile(file)
	if err != nil {
		return nil, err
	}
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(b, &u.Object); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return u, nil
}

// schemas are the schemas of a CRD by version: the part that an API server
// keeps as it was written.
func schemas(crd *unstructured.Unstructured) map[string]any {
	all := map[string]any{}
	versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
	for _, v := range versions {
		if version, ok := v.(map[string]any); ok {
			name, _ := version["name"].(string)
			all[name] = version["schema"]
		}
	}
	return normal(all).(map[string]any)
}

// normal makes all numbers of a JSON value alike, since YAML and JSON are read
// as different types.
func normal(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			m[k] = normal(e)
		}
		return m
	case []any:
		s := make([]any, len(v))
		for i, e := range v {
			s[i] = normal(e)
		}
		return s
	case int64:
		return float64(v)
	}
	return v
}

// controller checks that one leads.
func (d *doctor) controller(ctx context.Context, c client.Client) {
	lease, held, err := d.app.controllerLease(ctx, c)
	switch {
	case err != nil:
		d.warn("controller", "it cannot be told whether one runs: "+err.Error(), "ask for the permission to read leases in "+mizzen.SystemNamespace)
	case !held:
		d.fail("controller", "none runs, so that nothing is synced", "run 'mizzen up'")
	default:
		d.ok("controller", "%s leads", *lease.HolderIdentity)
	}
}

func (d *doctor) repositories(ctx context.Context, c client.Client) {
	d.resources(ctx, c, listedKinds[1], "look at the message; 'mizzen get repositories' shows it again")
}

func (d *doctor) clusters(ctx context.Context, c client.Client) {
	d.resources(ctx, c, listedKinds[2], "check that it runs, and its kubeconfig Secret")
}

// resources checks the Ready condition of every object of a kind.
func (d *doctor) resources(ctx context.Context, c client.Client, kind listed, remedy string) {
	list := kind.list()
	if err := c.List(ctx, list, client.InNamespace(d.app.kube.defaultNamespace())); err != nil {
		d.warn(kind.names[0], "they cannot be listed: "+err.Error(), "ask for the permission")
		return
	}
	_ = eachObject(list, func(o client.Object) { // it fails on what is no list
		r := kind.resource(o)
		name := kind.name + " " + r.Name
		switch r.State {
		case report.Ready:
			d.ok(name, "%s", strings.TrimSpace("ready "+r.URL+r.Version))
		case report.Suspended, report.Unknown:
			d.warn(name, r.Message, remedy)
		default:
			d.fail(name, r.Message, remedy)
		}
	})
}

// accounts checks that the service accounts exist that Applications act as:
// in the cluster that they act in.
func (d *doctor) accounts(ctx context.Context, c client.Client) {
	var apps v1alpha1.ApplicationList
	if err := c.List(ctx, &apps, client.InNamespace(d.app.kube.defaultNamespace())); err != nil {
		d.warn("service accounts", err.Error(), "")
		return
	}
	users := map[client.ObjectKey][]string{}
	for _, app := range apps.Items {
		if app.Spec.Privileged || app.Spec.Destination.Cluster != "" {
			continue
		}
		account := app.Spec.ServiceAccountName
		if account == "" {
			account = "default"
		}
		key := client.ObjectKey{Namespace: app.Namespace, Name: account}
		users[key] = append(users[key], app.Name)
	}
	keys := slices.SortedFunc(maps.Keys(users), func(a, b client.ObjectKey) int { return strings.Compare(a.String(), b.String()) })
	for _, key := range keys {
		err := c.Get(ctx, key, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{}})
		switch who := strings.Join(users[key], ", "); {
		case apierrors.IsNotFound(err):
			d.fail("service account "+key.Name, "it does not exist, but is used by "+who, "create it, or correct spec.serviceAccountName")
		case err != nil:
			d.warn("service account "+key.Name, err.Error(), "ask for the permission to read service accounts")
		default:
			d.ok("service account "+key.Name, "used by %s", who)
		}
	}
}
