package cli

import (
	"errors"
	"net"
	"net/url"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"

	"mizzen.dev/mizzen"
)

// explain turns an error of the Kubernetes API into one that a user can act
// on. notFound is the remedy if the object does not exist.
func explain(err error, object, notFound string) error {
	var (
		known   *mizzen.Error
		network net.Error
		address *url.Error
	)
	switch {
	case err == nil || errors.As(err, &known):
		return err
	case meta.IsNoMatchError(err):
		return &mizzen.Error{
			Kind: mizzen.NotFound, Object: object, Err: errors.New("the cluster has no Mizzen: its CRDs are not installed"),
			Remedy: "run 'mizzen up' or install the chart",
		}
	case apierrors.IsNotFound(err):
		return &mizzen.Error{Kind: mizzen.NotFound, Object: object, Err: errors.New("not found"), Remedy: notFound}
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		return &mizzen.Error{Kind: mizzen.Forbidden, Object: object, Err: err, Remedy: "ask for the permission, or use another --context"}
	case errors.As(err, &network), errors.As(err, &address):
		return &mizzen.Error{
			Kind: mizzen.Unreachable, Object: object, Err: err,
			Remedy: "check that the cluster runs and that --kubeconfig and --context name the right one; 'mizzen doctor' looks",
		}
	}
	return &mizzen.Error{Kind: mizzen.Internal, Object: object, Err: err}
}
