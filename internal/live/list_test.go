package live

import (
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/labtest"
)

// TestListNamesAllThatIsForbidden: the kinds are read beside each other, and the
// error named whichever was refused first.
func TestListNamesAllThatIsForbidden(t *testing.T) {
	config := rest.CopyConfig(labtest.Start(t, labtest.ControlPlane).Config)
	config.Impersonate.UserName = "carol"
	config.Impersonate.Groups = []string{"system:authenticated"}
	c, err := New(config, Options{})
	if err != nil {
		t.Fatal(err)
	}
	const want = "allow carol to list services in the whole cluster, and the same for Pod, ConfigMap in the namespace istio-system, Deployment.apps"
	for range 5 {
		_, err := c.List(t.Context(), []Query{
			{Kind: "Service"},
			{Kind: "Pod"},
			{Kind: "ConfigMap", Namespace: "istio-system", Name: "istio"},
			{Kind: "ConfigMap", Namespace: "istio-system", Name: "other"},
			{Group: "apps", Kind: "Deployment"},
		}, nil)
		if mizzen.KindOf(err) != mizzen.Forbidden || !strings.HasSuffix(err.Error(), want) {
			t.Fatalf("got %v, want %s", err, want)
		}
	}
}
