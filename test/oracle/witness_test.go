package oracle

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/meshtest"
	"mizzen.dev/mizzen/internal/traffic/compile"
	"mizzen.dev/mizzen/internal/traffic/effect"
	"mizzen.dev/mizzen/internal/traffic/effect/scenario"
	"mizzen.dev/mizzen/test/oracle/internal/trial"
)

// unconfirmed is an effect that no request to one Envoy shows, with the
// scenarios that have it. What is in no such table is sent to Envoy.
type unconfirmed struct {
	code      mizzen.EffectCode
	why       string
	scenarios string
}

var unconfirmedEffects = []unconfirmed{
	{
		mizzen.EffectDestination, "the port of a server, and what is beyond a name or a pod's proxy, show in no answer",
		"default-endpoint entry-address external-name-enters external-name-outside service-entry-target-port target-port",
	},
	{mizzen.EffectFails, "Envoy takes none of it (TestLargeExpression), or says UnknownService", "gateway-api-grant regex-too-large"},
	{mizzen.EffectShadowed, "no request comes to the rule", "order-of-rules shadowed-prefix"},
	{mizzen.EffectIgnored, "istiod does not send it to Envoy", "bad-regex cyclic-delegate delegate-circle delegate-missing ignored unknown-version"},
	{mizzen.EffectConflict, "istiod does not send what loses to Envoy", "conflict conflict-both-held conflict-both-live conflict-both-new conflict-live-loses conflict-live-older conflict-new-loses"},
	{mizzen.EffectMirror, "a copy to nowhere arrives nowhere", "mirror-broken"},
	{mizzen.EffectCircuitBreaker, "limits show under load alone, and the version of HTTP to a server in no answer", "cause-merged-rule circuit-breaker protocol-grpc"},
	{mizzen.EffectOutlier, "it takes many requests that fail", "outlier"},
	{mizzen.EffectLoadBalancing, "any endpoint is one that may be chosen", "load-balancing load-balancing-hash locality"},
	{
		mizzen.EffectRoutePolicy, "a priority shows under load alone, and whether bytes are read in no answer",
		"protocol-detected protocol-grpc protocol-http protocol-ingress protocol-tcp protocol-tcp-policy protocol-told route-priority",
	},
	{mizzen.EffectArrival, "it is settings, and what they do to requests is told beside it", "edge-profile path-normalization-off path-normalization-stricter trusted-proxies"},
	{mizzen.EffectMTLSWeaker, "no proxy is left to ask", "bypass-inbound-include bypass-inbound-policy bypass-node-network injection-pod-revision injector-never sidecar-off sidecar-off-caller"},
	{mizzen.EffectTLSMismatch, "a process alone has no iptables, and no proxy is left to ask", "bypass-inbound bypass-inbound-include bypass-inbound-policy bypass-node-network bypass-outbound"},
	{mizzen.EffectAuthorizationNarrower, "no proxy is left to ask", "sidecar-off-caller"},
	{mizzen.EffectAuthorizationWider, "the caller is not there before, or Envoy takes none of its certificates", "authorization-trust-domain identity-new-workload"},
	{mizzen.EffectJWT, "a header that is added is no matter of who is refused, or another policy refuses all tokens", "jwt-claim-header jwt-removed-denies"},
	{mizzen.EffectClientTLS, "how callers connect is no matter of one request", "client-tls-simple client-tls-without-certificate egress-tls-origination"},
	{mizzen.EffectInjectionOff, "no proxy is left to ask", "injection-off injection-tag-renamed"},
	{mizzen.EffectInjectionOn, "there is no proxy to ask before", "injection-on sidecar-gone-namespace"},
	{mizzen.EffectBypass, "a process alone has no iptables", "bypass-injector bypass-outbound bypass-outbound-range"},
	{mizzen.EffectBypassEnds, "a process alone has no iptables", "bypass-outbound-ends"},
	{mizzen.EffectExposed, "a Service decides, or there is no such gateway", "gateway-selector gateway-service-public service-public"},
	{mizzen.EffectWithdrawn, "a Service decides", "gateway-service-internal gateway-service-port service-internal"},
	{mizzen.EffectCertificate, "it is about the handshake, of which no request is part", "gateway-certificate gateway-mutual gateway-tls-version"},
	{mizzen.EffectAccessLog, "no request looks otherwise", "access-log-client access-log-off access-log-on"},
	{mizzen.EffectMetrics, "no request looks otherwise", "metrics-off"},
	{mizzen.EffectTracing, "no request looks otherwise", "tracing-off tracing-on"},
	{mizzen.EffectUnknown, "it is not understood, or was not tried", "envoy-filter envoy-filter-fault envoy-filter-host envoy-filter-many-domains envoy-filter-route outbound-envoy-filter wasm"},
}

var unconfirmedInAmbient = []unconfirmed{
	{mizzen.EffectDestination, "a ztunnel decides, or a waypoint that is not known", "waypoint-elsewhere waypoint-label-gone waypoint-service-joins waypoint-service-leaves"},
	{mizzen.EffectMTLSStronger, "a ztunnel decides", "ztunnel-strict"},
	{mizzen.EffectInjectionOff, "a ztunnel decides afterwards", "sidecar-to-ztunnel"},
	{mizzen.EffectAuthorizationWider, "a ztunnel decides afterwards", "waypoint-label-gone waypoint-service-leaves"},
	{mizzen.EffectAuthorizationNarrower, "a ztunnel decides, or did so before", "waypoint-service-joins ztunnel-policy"},
}

// TestWitnesses sends the witness of each effect to an Envoy with the
// configuration before and to one with that after: what they do must differ, as
// the effect says, and be what the witness says of both.
func TestWitnesses(t *testing.T) {
	testWitnesses(t, "../../internal/traffic/effect/testdata", unconfirmedEffects)
}

// TestAmbientWitnesses is TestWitnesses for what waypoints and sidecars of an
// ambient mesh decide, in a process of its own as TestWaypoints.
func TestAmbientWitnesses(t *testing.T) {
	if meshtest.Ambient(t) {
		testWitnesses(t, "../../internal/traffic/effect/testdata/ambient", unconfirmedInAmbient)
	}
}

// TestWitnessesElsewhere is TestWitnesses for repositories of policies and
// routes, whose workloads stand in.
func TestWitnessesElsewhere(t *testing.T) {
	testWitnesses(t, "../../internal/traffic/effect/testdata/elsewhere", []unconfirmed{
		{mizzen.EffectAccessLog, "no request looks otherwise", "access-log-off"},
	})
}

func testWitnesses(t *testing.T, dir string, table []unconfirmed) {
	t.Helper()
	bench := newBench(t)
	errands, left := collect(t, bench, dir)
	runs := map[string][]*visit{}
	for _, e := range errands {
		for i := range e.visits {
			v := &e.visits[i]
			runs[v.key] = append(runs[v.key], v)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(runs)) {
		if err := carryOut(t.Context(), bench, runs[key], t.TempDir()); err != nil {
			t.Fatal(err)
		}
	}
	confirmed := map[mizzen.EffectCode]int{}
	for _, e := range errands {
		if err := e.confirm(); err != nil {
			t.Errorf("%s: %s %s: %v\n\twitness %+v\n\tbefore: %v\n\tafter:  %v", e.scenario, e.effect.Code, e.effect.Subject, err,
				*e.effect.Witness, e.visits[0].seen, e.visits[1].seen)
			continue
		}
		confirmed[e.effect.Code]++
		// What confirms anything is no confirmation.
		for _, wrong := range [][2]visit{{e.visits[1], e.visits[0]}, {e.visits[0], e.visits[0]}, {e.visits[1], e.visits[1]}} {
			if (&errand{effect: e.effect, visits: wrong}).confirm() == nil {
				t.Errorf("%s: %s is confirmed by what Envoy did on other sides", e.scenario, e.effect.Code)
			}
		}
	}
	checkUnconfirmed(t, table, left)
	t.Logf("%d witnesses sent to %d Envoys, confirmed by code: %s", len(errands), len(runs), counts(confirmed))
}

func counts(confirmed map[mizzen.EffectCode]int) string {
	var out []string
	for _, code := range slices.Sorted(maps.Keys(confirmed)) {
		out = append(out, fmt.Sprintf("%s %d", code, confirmed[code]))
	}
	return strings.Join(out, ", ")
}

// checkUnconfirmed holds that the effects without a witness that was sent are
// those of the table.
func checkUnconfirmed(t *testing.T, table []unconfirmed, left map[mizzen.EffectCode][]string) {
	t.Helper()
	got, want := map[mizzen.EffectCode]string{}, map[mizzen.EffectCode]string{}
	for code, scenarios := range left {
		slices.Sort(scenarios)
		got[code] = strings.Join(slices.Compact(scenarios), " ")
	}
	for _, u := range table {
		want[u.code] = u.scenarios
		t.Logf("%s not sent: %s (%s)", u.code, u.why, u.scenarios)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("effects that no Envoy confirms (-want +got):\n%s", diff)
	}
}

// errand is a witness to be confirmed.
type errand struct {
	scenario string
	effect   mizzen.Effect
	// visits are before and after.
	visits [2]visit
}

// collect returns the witnesses of a folder's scenarios that can be sent, and the scenarios of those
// that cannot by code.
func collect(t *testing.T, bench *trial.Bench, dir string) (errands []*errand, left map[mizzen.EffectCode][]string) {
	t.Helper()
	all, err := scenario.ReadAll(dir)
	if err != nil {
		t.Fatal(err)
	}
	left = map[mizzen.EffectCode][]string{}
	for _, s := range all {
		effects, meshes := compared(t, s, bench.Signer.JWKS())
		for _, e := range effects {
			x := &errand{scenario: s.Name, effect: e}
			if x.plan(meshes) {
				errands = append(errands, x)
				continue
			}
			left[e.Code] = append(left[e.Code], s.Name)
		}
	}
	return errands, left
}

// compared compiles both sides of a scenario. Its tokens are those of the
// bench's signer.
func compared(t *testing.T, s *scenario.Scenario, keys string) ([]mizzen.Effect, [2]*world) {
	t.Helper()
	var worlds [2]*world
	newcomers := [2][]mizzen.Ref{1: compile.Newcomers(s.Before.Objects, s.After.Objects)}
	for i, side := range []scenario.Side{s.Before, s.After} {
		for _, o := range side.Objects {
			trust(o, keys)
		}
		mesh, err := compile.Compile(t.Context(), side.Objects, compile.Options{
			MeshConfig: side.MeshConfig, Selections: s.Selections(), Newcomers: newcomers[i],
		})
		if err != nil {
			t.Fatal(err)
		}
		worlds[i] = newWorld(mesh)
	}
	o := effect.Options{Before: s.Before.Objects, After: s.After.Objects}
	return effect.Compare(worlds[0].Mesh, worlds[1].Mesh, o), worlds
}

// trust gives the keys to a RequestAuthentication.
func trust(o mizzen.Object, keys string) {
	if o.GetKind() != "RequestAuthentication" {
		return
	}
	spec, _ := o.Object["spec"].(map[string]any)
	rules, _ := spec["jwtRules"].([]any)
	for _, r := range rules {
		if rule, ok := r.(map[string]any); ok {
			rule["jwks"] = keys
		}
	}
}

// beyond are effects of scenarios that no proxy shows: the pod's iptables decide,
// or a Service does, or Envoy says it in other words.
var beyond = map[string][]mizzen.EffectCode{
	"bypass-inbound":         {mizzen.EffectTLSMismatch},
	"bypass-inbound-include": {mizzen.EffectMTLSWeaker, mizzen.EffectTLSMismatch},
	"bypass-inbound-policy":  {mizzen.EffectTLSMismatch},
	"bypass-injector":        {mizzen.EffectBypass},
	"bypass-outbound":        {mizzen.EffectBypass},
	"gateway-api-grant":      {mizzen.EffectFails},
	"gateway-service-port":   {mizzen.EffectWithdrawn},
}

// plan finds where the witness goes on both sides; it returns false if there is
// none, or none that one Envoy can be asked about.
func (e *errand) plan(worlds [2]*world) bool {
	// What is not seen in one request's fate is in the table.
	if e.effect.Witness == nil || e.effect.Code == mizzen.EffectRoutePolicy || slices.Contains(beyond[e.scenario], e.effect.Code) {
		return false
	}
	if strings.Contains(e.effect.Message, "arrive at another port or address") {
		return false
	}
	if strings.Contains(e.effect.After, "to nowhere") && e.effect.Code == mizzen.EffectMirror {
		return false
	}
	for i, w := range worlds {
		v, ok := w.visit(e.effect, worlds[1-i])
		if e.effect.Code == mizzen.EffectTLSMismatch {
			v, ok = w.handshake(e.effect, []string{e.effect.Before, e.effect.After}[i])
		}
		if !ok {
			return false
		}
		e.visits[i] = v
	}
	return true
}

// carryOut makes visits that go to one configuration.
func carryOut(ctx context.Context, bench *trial.Bench, visits []*visit, dir string) error {
	first := visits[0]
	x, err := bench.StartBehind(ctx, first.proxy, first.side, dir, first.behind)
	if err != nil {
		return err
	}
	defer x.Close()
	for _, v := range visits {
		if err := v.look(ctx, x); err != nil {
			return err
		}
	}
	return nil
}
