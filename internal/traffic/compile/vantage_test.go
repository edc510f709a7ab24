package compile

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSliceVantage(t *testing.T) {
	policy := "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: p, namespace: istio-system}"
	sidecar := "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: s, namespace: shop}"
	gateway := "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: g, namespace: shop}\nspec: {selector: {istio: edge}}"
	for name, c := range map[string]struct {
		changed string
		want    *Vantage
	}{
		"a Sidecar":                         {sidecar, &Vantage{Namespaces: []string{"shop"}}},
		"a Gateway and a Sidecar":           {gateway + "\n---\n" + sidecar, &Vantage{Namespaces: []string{"shop"}, Gateways: []map[string]string{{"istio": "edge"}}}},
		"a policy of the mesh":              {policy, &Vantage{Everybody: true, NoRoutes: true}},
		"a policy of the mesh, a Sidecar":   {policy + "\n---\n" + sidecar, nil},
		"Telemetry of a namespace":          {"apiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: {name: t, namespace: shop}", &Vantage{Namespaces: []string{"shop"}, NoRoutes: true}},
		"Telemetry of the mesh":             {"apiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: {name: t, namespace: istio-system}", &Vantage{Everybody: true, NoRoutes: true}},
		"an EnvoyFilter of the mesh":        {"apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata: {name: e, namespace: istio-system}", nil},
		"a Gateway that selects everything": {"apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: g, namespace: shop}", nil},
		"a host":                            {"apiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: shop}", nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, got := Slice(nil, parse(t, []byte(c.changed)), DefaultRoot)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestSliceOfAccounts holds that a workload with another service account leaves
// nothing out: any server's policy may decide anew.
func TestSliceOfAccounts(t *testing.T) {
	other := parse(t, []byte("apiVersion: v1\nkind: Service\nmetadata: {name: other, namespace: shop}\nspec: {selector: {app: other}}"))
	web := func(account string) string {
		return "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\n" +
			"spec: {template: {metadata: {labels: {app: web}}, spec: {" + account + "containers: []}}}\n---\n"
	}
	for text, want := range map[string]int{
		web("") + web(""):                          0,
		web("") + web("serviceAccountName: web, "): 1,
		web("serviceAccountName: a, ") + web("dnsPolicy: Default, serviceAccountName: a, "): 0,
	} {
		if kept, _ := Slice(other, parse(t, []byte(text)), DefaultRoot); len(kept) != want {
			t.Errorf("%s: %d objects are kept, want %d", text, len(kept), want)
		}
	}
}
