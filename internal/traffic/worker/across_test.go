package worker_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic/worker"
)

func planner(t *testing.T) *worker.Planner {
	t.Helper()
	p := &worker.Planner{Client: &worker.Client{AllowUnsandboxed: true}}
	t.Cleanup(p.Client.Close)
	return p
}

// inLines tells effects in lines.
func inLines(effects []mizzen.Effect) []string {
	var out []string
	for _, e := range effects {
		out = append(out, fmt.Sprintf("%s %s %s: %s (%s -> %s) by %s", e.Impact, e.Code, e.Subject, e.Message, e.Before, e.After, e.Cause))
	}
	return out
}

// A flag that changes is compared by what istiod makes of the same objects with
// either value.
func TestEffectsOfFlags(t *testing.T) {
	const byIstiod = " by apps/Deployment istio-system/istiod"
	mesh := services(t, 2)
	for _, c := range []struct {
		name, before, after string
		// want are parts of the effects, in order.
		want []string
	}{
		{
			name: "one that changes what hosts are known", after: "[{name: PILOT_ENABLE_ABSOLUTE_FQDN_VHOST_DOMAIN, value: 'false'}]",
			want: []string{"info MT6003 istiod PILOT_ENABLE_ABSOLUTE_FQDN_VHOST_DOMAIN: istiod makes something else of the same objects; no request is found to which that matters"},
		},
		{
			name: "one that has no words", before: "[{name: PILOT_HTTP10, value: 'false'}]", after: "[{name: PILOT_HTTP10, value: 'true'}]",
			want: []string{"MT6001", "notice MT6003 istiod PILOT_HTTP10: istiod makes something else of the same objects: the other effects say what (PILOT_HTTP10=false -> PILOT_HTTP10=true)" + byIstiod},
		},
		{name: "the default, written down", after: "[{name: PILOT_HTTP10, value: 'false'}]"},
		{
			name: "one that is left out", after: "[{name: PILOT_JWT_ENABLE_REMOTE_JWKS, value: envoy}]",
			want: []string{"notice MT6003 istiod PILOT_JWT_ENABLE_REMOTE_JWKS: the variable is not in the model: what it changes is not known (PILOT_JWT_ENABLE_REMOTE_JWKS=(not set) -> PILOT_JWT_ENABLE_REMOTE_JWKS=envoy)" + byIstiod},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.before == "" {
				c.before = "[]"
			}
			before := append(mesh[:len(mesh):len(mesh)], istiod(t, "istio-system", "istiod", c.before))
			after := append(mesh[:len(mesh):len(mesh)], istiod(t, "istio-system", "istiod", c.after))
			effects, err := planner(t).Effects(t.Context(), before, after)
			if err != nil {
				t.Fatal(err)
			}
			got := inLines(effects)
			rest := got
			for _, want := range c.want {
				for len(rest) > 0 && !strings.Contains(rest[0], want) {
					rest = rest[1:]
				}
				if len(rest) == 0 {
					t.Fatalf("no effect is as %q:\n%s", want, strings.Join(got, "\n"))
				}
			}
			if len(c.want) == 0 && len(got) > 0 {
				t.Errorf("there are effects:\n%s", strings.Join(got, "\n"))
			}
		})
	}
}

// A mesh that goes from worker to worker is what one worker compiles.
func TestTwoWorkersSayWhatOneSays(t *testing.T) {
	both := services(t, 3)
	gone := both[len(both)-1:]
	both = both[:len(both)-1]
	changed := *gone[0].DeepCopy()
	changed.SetAnnotations(map[string]string{"a": "b"})
	spec, _ := changed.Object["spec"].(map[string]any)
	delete(spec, "http")
	come := []mizzen.Object{{Unstructured: &changed, Origins: gone[0].Origins}}
	p := planner(t)
	one, err := p.Effects(t.Context(), append(both[:len(both):len(both)], gone...), append(both[:len(both):len(both)], come...))
	if err != nil {
		t.Fatal(err)
	}
	two, err := worker.TwoWorkers(p, t.Context(), both, gone, come)
	if err != nil {
		t.Fatal(err)
	}
	mizzen.SortEffects(two.Effects)
	if diff := cmp.Diff(inLines(one), inLines(two.Effects)); diff != "" || len(one) == 0 {
		t.Errorf("effects (-one worker +two):\n%s", diff)
	}
}
