// Package peace counts what Mizzen does in a mesh that nobody touches. It is a
// package of its own because it takes minutes in which the machine has little
// to do: the other stories run beside it.
package peace

import (
	"context"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"mizzen.dev/mizzen/internal/labtest"
)

// peace is how long Mizzen and istiod have to leave each other alone.
const peace = 5 * time.Minute

// TestPeace counts what Mizzen writes while nobody changes Git: that it is
// there, and how it is, but nothing else. Istiod sets the certificate and the
// failure policy of its webhooks, and Mizzen leaves them to it.
func TestPeace(t *testing.T) {
	lab := labtest.Start(t, labtest.ControlPlane|labtest.Git|labtest.Mesh)
	webhooks := kubernetes.NewForConfigOrDie(lab.Config).AdmissionregistrationV1().ValidatingWebhookConfigurations()
	labtest.Eventually(t, "istiod to have patched its webhook", func(ctx context.Context) bool {
		c, err := webhooks.Get(ctx, "istiod-default-validator", metav1.GetOptions{})
		return err == nil && *c.Webhooks[0].FailurePolicy == admissionv1.Fail
	})
	mark := lab.Audit(t)
	<-time.After(peace)
	writes := mark.Writes(t, "mizzen")
	if len(writes) == 0 {
		t.Error("nothing is known of Mizzen, which renews its Lease: that it does nothing else would prove nothing")
	}
	for _, r := range writes {
		if !ofItself(r) {
			t.Errorf("Mizzen as %s%s did %s %s (answered by %d)", r.User, r.As, r.Verb, r.URI, r.Code)
		}
	}
}

// ofItself reports whether a request tells of Mizzen itself: its Lease, events,
// and the status of its own resources.
func ofItself(r labtest.Request) bool {
	switch r.Group {
	case "coordination.k8s.io":
		return r.Resource == "leases"
	case "", "events.k8s.io":
		return r.Resource == "events"
	case "mizzen.dev":
		return strings.HasSuffix(r.Resource, "/status")
	}
	return false
}
