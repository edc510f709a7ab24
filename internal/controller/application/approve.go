package application

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	admission "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/yaml"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/crds"
	"mizzen.dev/mizzen/api/v1alpha1"
)

// given are the Approvals of a Review that count, the oldest first.
func (x *run) given(ctx context.Context, digest string) ([]v1alpha1.Approval, error) {
	var all v1alpha1.ApprovalList
	if err := x.Client.List(ctx, &all, client.InNamespace(x.name.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list the approvals: %w", err)
	}
	var given []v1alpha1.Approval
	for _, a := range all.Items {
		if a.Spec.Application == x.name.Name && a.Spec.Digest == digest && a.DeletionTimestamp.IsZero() {
			given = append(given, a)
		}
	}
	if len(given) == 0 {
		return nil, nil
	}
	since, err := x.verifiedSince(ctx)
	if err != nil {
		return nil, err
	}
	given = slices.DeleteFunc(given, func(a v1alpha1.Approval) bool { return a.CreationTimestamp.Before(&since) })
	slices.SortFunc(given, func(a, b v1alpha1.Approval) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	return given, nil
}

// verifiedSince says since when the API server verifies who approves. An
// Approval that is older, or made while the policy is not in force, is anybody's.
func (x *run) verifiedSince(ctx context.Context) (metav1.Time, error) {
	var policy admission.ValidatingAdmissionPolicy
	var binding admission.ValidatingAdmissionPolicyBinding
	key := client.ObjectKey{Name: crds.ApprovalPolicy}
	for _, o := range []client.Object{&policy, &binding} {
		err := x.Uncached.Get(ctx, key, o)
		if apierrors.IsNotFound(err) {
			return metav1.Time{}, notEnforced()
		}
		if err != nil {
			return metav1.Time{}, fmt.Errorf("read the policy %s: %w", crds.ApprovalPolicy, err)
		}
	}
	wanted, err := wantedPolicy()
	if err != nil {
		return metav1.Time{}, err
	}
	if !enforces(&policy, &binding, wanted) {
		return metav1.Time{}, notEnforced()
	}
	since := policy.CreationTimestamp
	if since.Before(&binding.CreationTimestamp) {
		since = binding.CreationTimestamp
	}
	return since, nil
}

func notEnforced() error {
	return &mizzen.Error{
		Kind: mizzen.Refused, Object: "approvals", Err: errNotVerified,
		Remedy: "install the ValidatingAdmissionPolicy " + crds.ApprovalPolicy + " and its binding: 'mizzen up' and 'mizzen controller --install-crds' install them",
	}
}

// wantedPolicy is the policy of this binary.
var wantedPolicy = sync.OnceValues(func() (*admission.ValidatingAdmissionPolicy, error) {
	b, err := fs.ReadFile(crds.Approval, "approval/approval-policy.yaml")
	if err != nil {
		return nil, err
	}
	var p admission.ValidatingAdmissionPolicy
	return &p, yaml.Unmarshal(b, &p)
})

// enforces tells whether a policy demands at least what this binary relies on,
// of every Approval.
func enforces(p *admission.ValidatingAdmissionPolicy, b *admission.ValidatingAdmissionPolicyBinding, wanted *admission.ValidatingAdmissionPolicy) bool {
	if p.Spec.FailurePolicy != nil && *p.Spec.FailurePolicy != admission.Fail || len(p.Spec.MatchConditions) > 0 ||
		b.Spec.PolicyName != p.Name || b.Spec.MatchResources != nil || !slices.Contains(b.Spec.ValidationActions, admission.Deny) {
		return false
	}
	for _, v := range wanted.Spec.Validations {
		if !slices.ContainsFunc(p.Spec.Validations, func(has admission.Validation) bool { return has.Expression == v.Expression }) {
			return false
		}
	}
	return matchesAll(p.Spec.MatchConstraints, wanted.Spec.MatchConstraints)
}

// matchesAll tells whether a policy is asked about all that another one is.
func matchesAll(has, wanted *admission.MatchResources) bool {
	if has == nil || len(has.ExcludeResourceRules) > 0 || !selectsAll(has.NamespaceSelector) || !selectsAll(has.ObjectSelector) {
		return false
	}
	return slices.ContainsFunc(has.ResourceRules, func(r admission.NamedRuleWithOperations) bool {
		w := wanted.ResourceRules[0]
		return len(r.ResourceNames) == 0 && slices.Equal(r.APIGroups, w.APIGroups) && slices.Equal(r.APIVersions, w.APIVersions) &&
			slices.Equal(r.Resources, w.Resources) && slices.Equal(r.Operations, w.Operations)
	})
}

func selectsAll(s *metav1.LabelSelector) bool {
	return s == nil || len(s.MatchLabels)+len(s.MatchExpressions) == 0
}

// givenTo are those of the Approvals that count for a group of owners.
func givenTo(a mizzen.Approval, given []v1alpha1.Approval) []v1alpha1.Approval {
	var counted []v1alpha1.Approval
	for _, g := range given {
		in := func(owner string) bool { return slices.Contains(a.Owners, owner) }
		if len(a.Owners) == 0 || slices.ContainsFunc(g.Spec.Owners, in) {
			counted = append(counted, g)
		}
	}
	return counted
}

// enough tells whether every group of owners agrees.
func enough(required []mizzen.Approval, given []v1alpha1.Approval) bool {
	return len(given) > 0 && !slices.ContainsFunc(required, func(a mizzen.Approval) bool {
		return len(usersOf(givenTo(a, given))) < a.Count
	})
}

// usersOf are the users of Approvals, sorted, each once.
func usersOf(given []v1alpha1.Approval) []string {
	var users []string
	for _, g := range given {
		users = append(users, g.Spec.User)
	}
	slices.Sort(users)
	return slices.Compact(users)
}

// gates knows which Applications wait at theirs, with their Repositories.
type gates struct {
	mu      sync.Mutex
	waiting map[mizzen.Name]mizzen.Name
}

func (g *gates) wait(app, repository mizzen.Name) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.waiting == nil {
		g.waiting = map[mizzen.Name]mizzen.Name{}
	}
	g.waiting[app] = repository
}

func (g *gates) leave(app mizzen.Name) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.waiting, app)
}

func (g *gates) holds(app mizzen.Name) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, waits := g.waiting[app]
	return waits
}

// of are those that wait and are of a Repository.
func (g *gates) of(repository mizzen.Name) []mizzen.Name {
	g.mu.Lock()
	defer g.mu.Unlock()
	var apps []mizzen.Name
	for app, of := range g.waiting {
		if of == repository {
			apps = append(apps, app)
		}
	}
	return apps
}

// wakeGated has those reviewed again that wait at their gate beside an
// Application that has just been synced: they may do less harm now, or more.
func (r *Reconciler) wakeGated(repository, but mizzen.Name) {
	for _, name := range r.gates.of(repository) {
		if name != but {
			r.memories.of(name).setRecheck(true)
			r.enqueue(name)
		}
	}
}

// approvalChanged wakes the Application that waits for an Approval.
func (r *Reconciler) approvalChanged(_ context.Context, o client.Object) []reconcile.Request {
	a, ok := o.(*v1alpha1.Approval)
	if !ok {
		return nil
	}
	name := mizzen.Name{Namespace: a.Namespace, Name: a.Spec.Application}
	if !r.gates.holds(name) {
		return nil
	}
	r.memories.of(name).setRecheck(true)
	return []reconcile.Request{request(name)}
}
