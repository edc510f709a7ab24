package mesh

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"mizzen.dev/mizzen/internal/labtest"
)

// peace is how long Mizzen and istiod have to leave each other alone.
const peace = 5 * time.Minute

// TestPeace counts what Mizzen writes to the objects of Istio's charts while
// nobody changes Git: istiod sets the certificate and the failure policy of its
// webhooks, and Mizzen leaves them to it. The tests that follow go on meanwhile,
// in namespaces of their own.
func TestPeace(t *testing.T) {
	m := newTeam(t)
	labtest.Eventually(t, "istiod to have patched its webhook", func(context.Context) bool {
		out, err := m.try("get", "validatingwebhookconfiguration", "istiod-default-validator", "-o", "jsonpath={.webhooks[0].failurePolicy}")
		return err == nil && out == "Fail"
	})
	mark, over := m.lab.Audit(t), time.After(peace)
	t.Parallel()
	<-over
	istio := []string{"istio-system", "istio-ingress"}
	for _, r := range mark.Requests(t) {
		ours := strings.HasPrefix(r.UserAgent, "mizzen") && slices.Contains([]string{"create", "update", "patch", "delete"}, r.Verb)
		if ours && (slices.Contains(istio, r.Namespace) || strings.HasSuffix(r.Resource, "webhookconfigurations")) {
			t.Errorf("Mizzen did %s %s %s/%s", r.Verb, r.Resource, r.Namespace, r.Name)
		}
	}
}
