package application

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	admission "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/crds"
	"mizzen.dev/mizzen/api/v1alpha1"
)

// settling is how long an API server may take until it enforces a policy that
// it has: it looks for new ones every second.
const settling = 5 * time.Second

// nobody is a user that no request is of.
const nobody = "mizzen.dev/nobody"

// given are the Approvals of a Review that count, the oldest first; doubt says
// why others do not, nil if all do. The API server is asked only where there are
// some.
func (x *run) given(ctx context.Context, digest string) (given []v1alpha1.Approval, doubt, err error) {
	var all v1alpha1.ApprovalList
	if err := x.Client.List(ctx, &all, client.InNamespace(x.name.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil, nil, fmt.Errorf("list the approvals: %w", err)
	}
	for _, a := range all.Items {
		if a.Spec.Application == x.name.Name && a.Spec.Digest == digest && a.DeletionTimestamp.IsZero() {
			given = append(given, a)
		}
	}
	if len(given) == 0 {
		return nil, nil, nil
	}
	since, err := x.verifiedSince(ctx)
	if errors.Is(err, errNotVerified) {
		return nil, err, nil
	}
	if err != nil {
		return nil, nil, err
	}
	given, doubtful := verified(given, since)
	if len(doubtful) > 0 {
		doubt = notVerifiedThen(doubtful)
	}
	return given, doubt, nil
}

// verified parts Approvals by whether the API server has verified who made them.
// One that was changed afterwards, which the definition of the kind forbids, may
// say anything.
func verified(all []v1alpha1.Approval, since time.Time) (counted, doubtful []v1alpha1.Approval) {
	for _, a := range all {
		if a.CreationTimestamp.After(since) && a.Generation <= 1 {
			counted = append(counted, a)
		} else {
			doubtful = append(doubtful, a)
		}
	}
	slices.SortFunc(counted, func(a, b v1alpha1.Approval) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	return counted, doubtful
}

// verifiedSince says since when the API server verifies who approves. An
// Approval that is older, or made while the policy is not in force, is anybody's.
func (x *run) verifiedSince(ctx context.Context) (time.Time, error) {
	var policy admission.ValidatingAdmissionPolicy
	var binding admission.ValidatingAdmissionPolicyBinding
	key := client.ObjectKey{Name: crds.ApprovalPolicy}
	for _, o := range []client.Object{&policy, &binding} {
		err := x.Uncached.Get(ctx, key, o)
		if apierrors.IsNotFound(err) {
			return time.Time{}, notEnforced()
		}
		if err != nil {
			return time.Time{}, fmt.Errorf("read the policy %s: %w", crds.ApprovalPolicy, err)
		}
	}
	wanted, err := wantedPolicy()
	if err != nil {
		return time.Time{}, err
	}
	since, known := changed(&policy, &binding)
	if !known || !enforces(&policy, &binding, wanted) {
		return time.Time{}, notEnforced()
	}
	return since.Add(settling), x.tryForgery(ctx)
}

// changed says when one of the objects was last written, but for its status: what
// it said before is not known. Whoever removes the record of that is not trusted.
func changed(objects ...client.Object) (last time.Time, known bool) {
	for _, o := range objects {
		if len(o.GetManagedFields()) == 0 {
			return time.Time{}, false
		}
		times := []time.Time{o.GetCreationTimestamp().Time}
		for _, m := range o.GetManagedFields() {
			if m.Subresource == "" && m.Time != nil {
				times = append(times, m.Time.Time)
			}
		}
		for _, t := range times {
			if t.After(last) {
				last = t
			}
		}
	}
	return last, true
}

// tryForgery asks the API server, without a write, to take an Approval in the
// name of nobody. It must refuse by the policy: that the policy is there says
// nothing where the admission of policies is switched off.
func (x *run) tryForgery(ctx context.Context) error {
	forged := &v1alpha1.Approval{
		ObjectMeta: metav1.ObjectMeta{Namespace: x.name.Namespace, GenerateName: "mizzen-probe-"},
		Spec: v1alpha1.ApprovalSpec{
			Application: x.name.Name, User: nobody, Digest: "sha256:" + strings.Repeat("0", 64),
			Reason: "a trial of the policy for approvals; it is never stored",
		},
	}
	err := x.Client.Create(ctx, forged, client.DryRunAll)
	switch {
	case err == nil:
		return notEnforced()
	case apierrors.IsForbidden(err) && strings.Contains(err.Error(), "'"+crds.ApprovalPolicy+"'"):
		return nil
	case apierrors.IsForbidden(err):
		return &mizzen.Error{
			Kind: mizzen.Refused, Object: "approvals", Err: fmt.Errorf("%w as far as the controller can tell, which may not try it: %w", errNotVerified, err),
			Remedy: "let the controller create approvals.mizzen.dev, which it does with dryRun alone",
		}
	}
	return fmt.Errorf("try the policy %s: %w", crds.ApprovalPolicy, err)
}

// errNotVerified says why no Approval counts.
var errNotVerified = errors.New("the API server does not verify who makes it")

func notEnforced() error {
	return &mizzen.Error{
		Kind: mizzen.Refused, Object: "approvals", Err: errNotVerified,
		Remedy: "install the ValidatingAdmissionPolicy " + crds.ApprovalPolicy + " and its binding: 'mizzen up' and 'mizzen controller --install-crds' install them",
	}
}

// notVerifiedThen says of Approvals, as many as a reader takes in, that nobody
// knows whose they are.
func notVerifiedThen(doubtful []v1alpha1.Approval) error {
	var names []string
	for _, a := range doubtful {
		names = append(names, a.Name)
	}
	slices.Sort(names)
	if more := len(names) - maxApprovals; more > 0 {
		names = append(names[:maxApprovals], fmt.Sprintf("%d more", more))
	}
	return &mizzen.Error{
		Kind: mizzen.Refused, Object: "approval " + clip(strings.Join(names, ", "), maxLine),
		Err:    errors.New("it was made, or changed, while the API server did not verify by whom"),
		Remedy: "delete it and approve again",
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
	switch {
	case p.Spec.FailurePolicy != nil && *p.Spec.FailurePolicy != admission.Fail, len(p.Spec.MatchConditions) > 0,
		b.Spec.PolicyName != p.Name, b.Spec.MatchResources != nil, !slices.Contains(b.Spec.ValidationActions, admission.Deny):
		return false
	case p.Spec.ParamKind != nil, b.Spec.ParamRef != nil:
		return false // without its parameters a policy may be left out
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
		return len(r.ResourceNames) == 0 && (r.Scope == nil || *r.Scope != admission.ClusterScope) &&
			slices.Equal(r.APIGroups, w.APIGroups) && slices.Equal(r.APIVersions, w.APIVersions) &&
			slices.Equal(r.Resources, w.Resources) && slices.Equal(r.Operations, w.Operations)
	})
}

func selectsAll(s *metav1.LabelSelector) bool {
	return s == nil || len(s.MatchLabels)+len(s.MatchExpressions) == 0
}
