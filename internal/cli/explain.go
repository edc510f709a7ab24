package cli

import (
	"context"
	"errors"
	"fmt"
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
		said    answer
		network net.Error
		address *url.Error
	)
	switch {
	case err == nil || errors.As(err, &known) || errors.As(err, &said):
		return err
	case errors.Is(err, context.DeadlineExceeded):
		return &mizzen.Error{Kind: mizzen.Timeout, Object: object, Err: fmt.Errorf("there was no answer in time: %w", err), Remedy: "raise --timeout"}
	case meta.IsNoMatchError(err):
		return &mizzen.Error{
			Kind: mizzen.NotFound, Object: object, Err: errors.New("the cluster has no Mizzen: its CRDs are not installed"),
			Remedy: "run 'mizzen up'",
		}
	case apierrors.IsNotFound(err):
		return &mizzen.Error{Kind: mizzen.NotFound, Object: object, Err: errors.New("not found"), Remedy: notFound}
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		return &mizzen.Error{Kind: mizzen.Forbidden, Object: object, Err: err, Remedy: "ask for the permission, or use another --context"}
	case errors.As(err, &address):
		return unreachable(object, fmt.Errorf("%s does not answer: %w", server(address.URL), address.Err))
	case errors.As(err, &network):
		return unreachable(object, err)
	}
	return &mizzen.Error{Kind: mizzen.Internal, Object: object, Err: err}
}

func unreachable(object string, err error) error {
	return &mizzen.Error{
		Kind: mizzen.Unreachable, Object: object, Err: err,
		Remedy: "check that the cluster runs and that --kubeconfig and --context name the right one; 'mizzen doctor' looks",
	}
}

// server is the part of a URL that names who does not answer.
func server(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "the cluster"
	}
	return "the cluster at " + u.Scheme + "://" + u.Host
}

// cause is an error without the remedy, for those who have a better one.
func cause(err error) string {
	var known *mizzen.Error
	if errors.As(err, &known) && known.Err != nil {
		return known.Err.Error()
	}
	return err.Error()
}
