package apply

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mizzen.dev/mizzen"
)

var (
	// ErrImmutable says that the API server does not change a field in place;
	// the Finding is mizzen.CodeImmutableField.
	ErrImmutable = errors.New("immutable field")
	// ErrStale says that the object is not the one that the Plan judged: plan
	// again.
	ErrStale = errors.New("the object was deleted or replaced since the plan")
)

// explain turns an error of a request about obj into one that a user can act
// on. A canceled context stays as it is, since nobody waits for the answer.
func (a *Applier) explain(obj mizzen.Object, ref mizzen.Ref, err error) error {
	var known *mizzen.Error
	if err == nil || errors.Is(err, context.Canceled) || errors.As(err, &known) {
		return err
	}
	e := &mizzen.Error{Object: ref.String(), Origin: obj.Origins.Object, Err: hideSecrets(obj, err)}
	var status apierrors.APIStatus
	switch {
	case errors.As(err, &status):
		a.explainStatus(e, status.Status())
	case errors.Is(err, context.DeadlineExceeded):
		e.Kind, e.Remedy = mizzen.Timeout, "try again; if it stays, look at the load of the API server and at admission webhooks"
	default:
		e.Kind, e.Remedy = mizzen.Unreachable, "check that the API server runs and can be reached from here; Mizzen tries again by itself"
	}
	return e
}

func (a *Applier) explainStatus(e *mizzen.Error, s metav1.Status) {
	switch {
	case uidMismatch(s):
		e.Kind, e.Err, e.Remedy = mizzen.Conflict, fmt.Errorf("%w: %w", ErrStale, e.Err), "plan again"
	case immutable(s):
		e.Kind, e.Err = mizzen.Conflict, fmt.Errorf("%w: %w", ErrImmutable, e.Err)
		e.Remedy = "delete the object by hand, or annotate it with " + mizzen.AnnotationSyncOptions + ": Replace=true to have it deleted and created again"
	case hasCause(s, "NamespaceTerminating"):
		e.Kind, e.Remedy = mizzen.Conflict, "wait until the namespace is gone, or see what its finalizers wait for; Mizzen tries again by itself"
	case s.Code == http.StatusTooManyRequests || s.Code >= http.StatusInternalServerError && !malformed(s):
		e.Kind, e.Remedy = mizzen.Unreachable, "look at the API server, and at the admission webhook if one is named; Mizzen tries again by itself"
	default:
		e.Kind, e.Remedy = a.explainCode(s)
	}
}

func (a *Applier) explainCode(s metav1.Status) (kind mizzen.Kind, remedy string) {
	switch s.Code {
	case http.StatusForbidden:
		return mizzen.Forbidden, a.grant(s)
	case http.StatusUnauthorized:
		return mizzen.Forbidden, "renew the credentials in the kubeconfig or the Cluster's Secret"
	case http.StatusNotFound:
		return mizzen.NotFound, missing(s)
	case http.StatusConflict:
		return mizzen.Conflict, "try again; somebody else writes the object at the same time"
	}
	return mizzen.Invalid, "correct the manifest"
}

func missing(s metav1.Status) string {
	if s.Details != nil && s.Details.Kind == "namespaces" {
		return "add the Namespace to Git, or set spec.destination.createNamespace"
	}
	return "install the CustomResourceDefinition of the kind"
}

// immutablePhrases are how the API server and definitions with CEL rules say
// that a field does not change. Source: validation of the Kubernetes API types.
var immutablePhrases = []string{
	"field is immutable", "is immutable", "may not change once set", "cannot change roleRef", "updates to statefulset spec for fields other than",
	"pod updates may not change fields other than", "field can not be changed", "may not be changed",
}

func immutable(s metav1.Status) bool {
	return s.Code == http.StatusUnprocessableEntity &&
		slices.ContainsFunc(immutablePhrases, func(p string) bool { return strings.Contains(s.Message, p) })
}

// denied is the API server's own wording of a missing permission.
var denied = regexp.MustCompile(`User "([^"]*)" cannot (\S+) resource "([^"]*)" in API group "([^"]*)"(?: in the namespace "([^"]*)")?`)

// grant says which permission to give to whom.
func (a *Applier) grant(s metav1.Status) string {
	m := denied.FindStringSubmatch(s.Message)
	if m == nil {
		// A quota, a policy, an admission webhook, or RBAC's own escalation check.
		return "do what the message says, or ask who runs the cluster"
	}
	user, verb, resource, group, namespace := m[1], m[2], m[3], m[4], m[5]
	if verb == "impersonate" {
		return fmt.Sprintf("allow Mizzen's own account %s to impersonate %s", user, a.user)
	}
	if group != "" {
		resource += "." + group
	}
	where, role, binding := "in the whole cluster", "ClusterRole", "ClusterRoleBinding"
	if namespace != "" {
		where, role, binding = "in namespace "+namespace, "Role", "RoleBinding"
	}
	return fmt.Sprintf("allow %s to %s %s %s: bind a %s with these by a %s", account(user), verb, resource, where, role, binding)
}

// account names a service account as people do.
func account(user string) string {
	parts := strings.Split(user, ":")
	if len(parts) == 4 && parts[0] == "system" && parts[1] == "serviceaccount" {
		return "service account " + parts[2] + "/" + parts[3]
	}
	return "user " + user
}

// hideSecrets takes the values of a Secret out of a message: for a value of
// the wrong type the API server repeats it.
func hideSecrets(obj mizzen.Object, err error) error {
	var status *apierrors.StatusError
	if obj.Unstructured == nil || obj.GetKind() != "Secret" || !errors.As(err, &status) {
		return err
	}
	s := status.ErrStatus
	message := s.Message
	for _, value := range secretValues(obj) {
		message = strings.ReplaceAll(message, value, "***")
	}
	hidden := apierrors.StatusError{ErrStatus: s}
	hidden.ErrStatus.Message = message
	hidden.ErrStatus.Details = nil
	return &hidden
}

// secretValues returns the values of a Secret as they are written, decoded and
// quoted, the longest first.
func secretValues(obj mizzen.Object) []string {
	var values []string
	for _, field := range []string{"data", "stringData"} {
		m, _ := obj.Object[field].(map[string]any)
		for _, v := range m {
			text := fmt.Sprint(v)
			values = append(values, text, fmt.Sprintf("%q", text))
			if plain, err := base64.StdEncoding.DecodeString(text); err == nil {
				values = append(values, string(plain), fmt.Sprintf("%q", plain))
			}
		}
	}
	values = slices.DeleteFunc(values, func(s string) bool { return strings.Trim(s, `"`) == "" })
	slices.SortFunc(values, func(a, b string) int { return len(b) - len(a) })
	return values
}
