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
