package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/report"
)

// approveOptions are the flags of approve.
type approveOptions struct {
	digest, reason string
	owners         []string
	yes            bool
}

func (a *app) approveCommand() *cobra.Command {
	var o approveOptions
	cmd := &cobra.Command{
		Use:   "approve APPLICATION",
		Short: "Agree to the revision that waits at an Application's gate",
		Long: "Shows what the revision does, asks, and makes an Approval for exactly that, in your name and in the name of\n" +
			"those owners of CODEOWNERS for whom you may approve. The API server verifies both.",
		Args:              arguments(1, 1),
		ValidArgsFunction: a.completeApplications,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.approve(cmd.Context(), args[0], o)
		},
	}
	cmd.Flags().StringVar(&o.digest, "digest", "", "refuse if another review than the one of this digest waits")
	cmd.Flags().StringVar(&o.reason, "reason", "", "why you agree, for whoever reads it later")
	cmd.Flags().StringSliceVar(&o.owners, "owner", nil, "approve in the name of this owner, such as @acme/payments (default: of all that you may)")
	cmd.Flags().BoolVarP(&o.yes, "yes", "y", false, "do not ask")
	return cmd
}

func (a *app) approve(ctx context.Context, name string, o approveOptions) error {
	c, _, err := a.kube.client()
	if err != nil {
		return err
	}
	app, err := a.kube.application(ctx, c, name)
	if err != nil {
		return err
	}
	review, err := awaiting(app, o.digest)
	if err != nil {
		return err
	}
	if err := report.ApprovalText(a.Out, review, a.style()); err != nil {
		return err
	}
	approval, err := approvalOf(ctx, c, app, o)
	if err != nil {
		return err
	}
	as := approval.Spec.User
	if len(approval.Spec.Owners) > 0 {
		as += " for " + strings.Join(approval.Spec.Owners, ", ")
	}
	if err := a.confirm(ctx, "Approve this as "+report.Plain(as)+"?", o.yes); err != nil {
		return err
	}
	err = c.Create(ctx, approval)
	switch {
	case apierrors.IsAlreadyExists(err):
		fmt.Fprintf(a.Out, "approved already as %s\n", report.Plain(as))
		return nil
	case err != nil:
		return explain(err, "approval of application "+app.Namespace+"/"+app.Name, "")
	}
	fmt.Fprintf(a.Out, "approved as %s; see 'mizzen status %s'\n", report.Plain(as), app.Name)
	return nil
}

// awaiting returns the review that waits for approval, if it is the one that is
// meant.
func awaiting(app *v1alpha1.Application, digest string) (*v1alpha1.ReviewStatus, error) {
	refused := func(kind mizzen.Kind, why error, remedy string) error {
		return &mizzen.Error{Kind: kind, Object: "application " + app.Namespace + "/" + app.Name, Err: why, Remedy: remedy}
	}
	synced := report.Condition(app.Status.Conditions, v1alpha1.ConditionSynced)
	review := app.Status.Review
	switch {
	case !guarded(app):
		return nil, refused(mizzen.Refused, errors.New("it has no gate that holds a revision"), "set spec.sync.gate: Policy")
	case synced.Reason == v1alpha1.ReasonDenied:
		return nil, refused(mizzen.Refused, errors.New(synced.Message), "see 'mizzen status "+app.Name+"'")
	case review == nil || synced.Reason != v1alpha1.ReasonAwaitingApproval:
		return nil, refused(mizzen.NotFound, errors.New("nothing waits for approval"), "see 'mizzen status "+app.Name+"'")
	case digest != "" && digest != review.Digest:
		return nil, refused(mizzen.Conflict, fmt.Errorf("another review waits than that of digest %.19s…: it is %.19s…", digest, review.Digest),
			"look at it with 'mizzen status "+app.Name+"'")
	}
	return review, nil
}

// approvalOf is the Approval that the user makes.
func approvalOf(ctx context.Context, c client.Client, app *v1alpha1.Application, o approveOptions) (*v1alpha1.Approval, error) {
	self := &authenticationv1.SelfSubjectReview{}
	if err := c.Create(ctx, self); err != nil {
		return nil, explain(err, "your user name", "")
	}
	owners := o.owners
	if len(owners) == 0 {
		var err error
		if owners, err = mine(ctx, c, app); err != nil {
			return nil, err
		}
	}
	owners = slices.Compact(slices.Sorted(slices.Values(owners)))
	user := self.Status.UserInfo.Username
	sum := sha256.Sum256([]byte(strings.Join(append([]string{app.Status.Review.Digest, user}, owners...), "\x00")))
	return &v1alpha1.Approval{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: app.Namespace, Name: fmt.Sprintf("%.200s-%s", app.Name, hex.EncodeToString(sum[:6])),
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: v1alpha1.GroupVersion.String(), Kind: "Application", Name: app.Name, UID: app.UID,
			}},
		},
		Spec: v1alpha1.ApprovalSpec{Application: app.Name, Digest: app.Status.Review.Digest, User: user, Owners: owners, Reason: o.reason},
	}, nil
}

// mine are the owners who are asked and in whose name the user may approve.
func mine(ctx context.Context, c client.Client, app *v1alpha1.Application) ([]string, error) {
	var owners []string
	for _, a := range app.Status.Review.Approvals {
		for _, owner := range a.Owners {
			access := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
				ResourceAttributes: &authorizationv1.ResourceAttributes{
					Namespace: app.Namespace, Verb: "approve", Group: mizzen.Group, Resource: "owners", Name: owner,
				},
			}}
			if err := c.Create(ctx, access); err != nil {
				return nil, explain(err, "your permissions", "")
			}
			if access.Status.Allowed {
				owners = append(owners, owner)
			}
		}
	}
	return owners, nil
}
