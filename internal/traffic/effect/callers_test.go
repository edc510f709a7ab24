package effect_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
	"mizzen.dev/mizzen/internal/traffic/effect"
)

// manyAccounts writes a policy that lets some of many service accounts call the
// first one, each of them that of a workload.
func manyAccounts(workloads int, may []int) []byte {
	var b strings.Builder
	b.WriteString("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {istio-injection: enabled}}\n")
	for i := range workloads {
		b.WriteString(strings.Replace(deployment(i, "v1", true), "spec: {containers", fmt.Sprintf("spec: {serviceAccountName: s%d, containers", i), 1))
	}
	var principals []string
	for _, i := range may {
		principals = append(principals, fmt.Sprintf("cluster.local/ns/shop/sa/s%d", i))
	}
	fmt.Fprintf(&b, `---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: s0, namespace: shop}
spec: {selector: {matchLabels: {app: s0}}, rules: [{from: [{source: {principals: [%s]}}]}]}
`, strings.Join(principals, ", "))
	return []byte(b.String())
}

// TestManyCallers holds that every service account is asked about whom a policy
// names, however many there are beside, and that it is said if these are too
// many themselves.
func TestManyCallers(t *testing.T) {
	upTo := func(n int) (out []int) {
		for i := range n {
			out = append(out, i+1)
		}
		return out
	}
	for name, c := range map[string]struct {
		workloads     int
		before, after []int
		want          string
		cut           bool
	}{
		"two of many": {230, []int{1}, []int{1, 229}, "shop/s229-v1", false},
		"all of many": {3, upTo(230), upTo(231), "", true},
	} {
		var meshes [2]*traffic.Mesh
		var sides [2][]mizzen.Object
		for i, may := range [][]int{c.before, c.after} {
			sides[i] = objects(t, "mesh.yaml", manyAccounts(c.workloads, may))
			meshes[i] = mesh(t, sides[i])
		}
		cut, gained := false, []string{}
		for _, e := range effect.Compare(meshes[0], meshes[1], effect.Options{Before: sides[0], After: sides[1]}) {
			cut = cut || strings.HasPrefix(e.Message, "not everything was tried")
			if e.Code == mizzen.EffectAuthorizationWider {
				gained = append(gained, e.Callers...)
			}
		}
		if cut != c.cut || c.want != "" && !slices.Equal(gained, []string{c.want}) {
			t.Errorf("%s: %v may call, not everything was tried: %v", name, gained, cut)
		}
	}
}
