package live

import (
	"context"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mizzen.dev/mizzen"
)

// apiError maps what the API client says to an Error of a Kind. about is the
// object or kind in question; empty means the cluster as a whole. A canceled
// context stays as it is, since nobody waits for the answer.
func (c *Cluster) apiError(about string, err error) error {
	var known *mizzen.Error
	if err == nil || errors.Is(err, context.Canceled) || errors.As(err, &known) {
		return err
	}
	kind, remedy := c.classify(err)
	if about == "" || kind == mizzen.Unreachable {
		about = "cluster " + c.host
	}
	return &mizzen.Error{Kind: kind, Object: about, Err: err, Remedy: remedy}
}

func (c *Cluster) classify(err error) (kind mizzen.Kind, remedy string) {
	switch {
	case errors.Is(err, context.DeadlineExceeded), apierrors.IsTimeout(err), apierrors.IsServerTimeout(err):
		return mizzen.Timeout, "try again; if it stays, look at the load of the API server"
	case apierrors.IsUnauthorized(err):
		return mizzen.Forbidden, "the API server does not accept the credentials: renew them in the kubeconfig or the Cluster's Secret"
	case apierrors.IsForbidden(err):
		return mizzen.Forbidden, grant(err)
	case apierrors.IsNotFound(err), apierrors.IsMethodNotSupported(err):
		return mizzen.NotFound, ""
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
		return mizzen.Conflict, ""
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		return mizzen.Invalid, ""
	}
	// What is left is no answer at all (dial, TLS, a broken stream), a server
	// that sheds load or is starting, or a proxy in front of it that fails.
	return mizzen.Unreachable, "check that the API server runs and can be reached from here; Mizzen tries again by itself"
}

// grant says in words which permission the API server missed. Its message is
// such as: configmaps "x" is forbidden: User "system:serviceaccount:shop:ci"
// cannot list resource "configmaps" in API group "" in the namespace "shop".
func grant(err error) string {
	const generic = "grant the identity the permission by a Role or ClusterRole"
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return generic
	}
	_, denied, ok := strings.Cut(status.Status().Message, `User "`)
	if !ok {
		return generic
	}
	user, rest, ok := strings.Cut(denied, `" cannot `)
	verb, rest, ok2 := strings.Cut(rest, ` resource "`)
	resource, rest, ok3 := strings.Cut(rest, `" in API group "`)
	group, where, ok4 := strings.Cut(rest, `"`)
	if !ok || !ok2 || !ok3 || !ok4 {
		return generic
	}
	if group != "" {
		resource += "." + group
	}
	scope := "in the whole cluster"
	if _, namespace, found := strings.Cut(where, `in the namespace "`); found {
		namespace, _, _ = strings.Cut(namespace, `"`)
		scope = "in the namespace " + namespace
	}
	return fmt.Sprintf("allow %s to %s %s %s", user, verb, resource, scope)
}

// unknownKind is the error for a kind that the cluster does not serve.
func unknownKind(kind string) error {
	return &mizzen.Error{
		Kind: mizzen.NotFound, Object: kind,
		Err:    errors.New("the cluster does not know the kind"),
		Remedy: "install its CustomResourceDefinition",
	}
}

// isGone tells whether a watch or list has to start afresh.
func isGone(err error) bool {
	return apierrors.IsResourceExpired(err) || apierrors.IsGone(err) ||
		apierrors.ReasonForError(err) == metav1.StatusReasonExpired
}
