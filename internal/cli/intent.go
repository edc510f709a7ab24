package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
)

// manager is the field manager of what a person decided at the command line:
// spec.hold and spec.suspend, and nothing else. Since these fields have an
// owner of their own, an Application that comes from Git keeps them.
const manager = "mizzen-cli"

// intent is all that a person decided about an Application at the command line.
type intent struct {
	Hold    *v1alpha1.Hold `json:"hold,omitempty"`
	Suspend bool           `json:"suspend,omitempty"`
}

// intentOf returns what is in force because of the command line.
func intentOf(app *v1alpha1.Application) intent {
	var in intent
	if slices.Contains(ownersOf(app, "hold"), manager) {
		in.Hold = app.Spec.Hold
	}
	in.Suspend = app.Spec.Suspend && slices.Contains(ownersOf(app, "suspend"), manager)
	return in
}

// ownersOf returns the managers of a field of the spec, or of what is in it.
func ownersOf(app *v1alpha1.Application, field string) []string {
	var owners []string
	for _, entry := range app.ManagedFields {
		var fields struct {
			Spec map[string]json.RawMessage `json:"f:spec"`
		}
		if entry.FieldsV1 == nil || entry.Subresource != "" || json.Unmarshal(entry.FieldsV1.GetRawBytes(), &fields) != nil {
			continue
		}
		if _, owns := fields.Spec["f:"+field]; owns {
			owners = append(owners, entry.Manager)
		}
	}
	slices.Sort(owners)
	return slices.Compact(owners)
}

// declare makes an intent the one that is in force. What the command line had
// decided before and is not in it is taken back.
func (a *app) declare(ctx context.Context, c client.Client, app *v1alpha1.Application, in intent) error {
	spec, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&in)
	if err != nil {
		return err
	}
	u := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	u.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("Application"))
	u.SetNamespace(app.Namespace)
	u.SetName(app.Name)
	// The UID keeps an apply from making a new Application of the name.
	u.SetUID(app.UID)
	err = c.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.FieldOwner(manager))
	object := "application " + app.Namespace + "/" + app.Name
	if apierrors.IsConflict(err) {
		return &mizzen.Error{
			Kind: mizzen.Conflict, Object: object, Err: fmt.Errorf("somebody else decides about it: %w", err),
			Remedy: "change it where it comes from: " + origin(app, "suspend", "hold"),
		}
	}
	if err != nil {
		return explain(err, object, "see 'mizzen get applications'")
	}
	return c.Get(ctx, client.ObjectKeyFromObject(app), app)
}

// origin says who sets fields of an Application's spec, other than the command
// line.
func origin(app *v1alpha1.Application, fields ...string) string {
	var who []string
	for _, field := range fields {
		for _, owner := range ownersOf(app, field) {
			switch parent := app.Annotations[mizzen.AnnotationOwner]; {
			case owner == manager:
			case strings.HasPrefix(owner, mizzen.Manager("")) && parent != "":
				who = append(who, fmt.Sprintf("spec.%s is set in Git, by application %s", field, parent))
			default:
				who = append(who, fmt.Sprintf("spec.%s is set by %s", field, owner))
			}
		}
	}
	return strings.Join(who, ", ")
}

// whoami is who the cluster takes the user for, for the record.
func whoami(ctx context.Context, c client.Client) string {
	review := &authenticationv1.SelfSubjectReview{}
	if err := c.Create(ctx, review); err == nil && review.Status.UserInfo.Username != "" {
		return review.Status.UserInfo.Username
	}
	return os.Getenv("USER")
}

// errStays says that an intent of somebody else is still in force.
var errStays = errors.New("the command line does not decide about it")
