package worker_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic/trace"
	"mizzen.dev/mizzen/internal/traffic/worker"
)

// istiod is a Deployment with variables, a YAML list.
func istiod(t *testing.T, namespace, name, env string) mizzen.Object {
	t.Helper()
	text := `
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME, namespace: NAMESPACE, labels: {app: istiod}}
spec: {template: {spec: {containers: [{name: discovery, env: ENV}]}}}
`
	var content map[string]any
	text = strings.NewReplacer("NAMESPACE", namespace, "NAME", name, "ENV", env).Replace(text)
	if err := yaml.Unmarshal([]byte(text), &content); err != nil {
		t.Fatal(err)
	}
	return mizzen.Object{Unstructured: &unstructured.Unstructured{Object: content}}
}

func TestFlags(t *testing.T) {
	waypoint := mizzen.Object{Unstructured: &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": map[string]any{"name": "w", "namespace": "shop"},
		"spec": map[string]any{"gatewayClassName": "istio-waypoint"},
	}}}
	captured := mizzen.Object{Unstructured: &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace",
		"metadata": map[string]any{"name": "shop", "labels": map[string]any{"istio.io/dataplane-mode": "ambient"}},
	}}}
	const http10 = "[{name: PILOT_HTTP10, value: 'true'}]"
	long := "[{name: PILOT_MX_ADDITIONAL_LABELS, value: '" + strings.Repeat("a", 5000) + "'}]"
	for _, c := range []struct {
		name    string
		root    string
		objects []mizzen.Object
		want    worker.Flags
	}{
		{name: "no istiod"},
		{name: "a waypoint, and no istiod", objects: []mizzen.Object{waypoint}, want: worker.Flags{"PILOT_ENABLE_AMBIENT": "true"}},
		{name: "a namespace of the ambient mesh, and no istiod", objects: []mizzen.Object{captured}, want: worker.Flags{"PILOT_ENABLE_AMBIENT": "true"}},
		{
			name:    "a waypoint that istiod ignores",
			objects: []mizzen.Object{waypoint, istiod(t, "istio-system", "istiod", "[]")}, want: worker.Flags{},
		},
		{
			name:    "only what is allowed",
			objects: []mizzen.Object{istiod(t, "istio-system", "istiod", "[{name: PILOT_HTTP10, value: 'true'}, {name: KUBECONFIG, value: /etc/passwd}, {name: LD_PRELOAD, value: a.so}]")},
			want:    worker.Flags{"PILOT_HTTP10": "true"},
		},
		{
			name:    "keys of token issuers are never fetched",
			objects: []mizzen.Object{istiod(t, "istio-system", "istiod", "[{name: PILOT_JWT_ENABLE_REMOTE_JWKS, value: 'istiod'}]")},
			want:    worker.Flags{},
		},
		{
			name:    "only literal values",
			objects: []mizzen.Object{istiod(t, "istio-system", "istiod", "[{name: PILOT_TRACE_SAMPLING, value: '$(SAMPLING)'}, {name: PILOT_HTTP10, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]")},
			want:    worker.Flags{},
		},
		{name: "a value without end", objects: []mizzen.Object{istiod(t, "istio-system", "istiod", long)}, want: worker.Flags{}},
		{name: "no list", objects: []mizzen.Object{istiod(t, "istio-system", "istiod", "3")}, want: worker.Flags{}},
		{name: "somebody else's istiod", objects: []mizzen.Object{istiod(t, "shop", "istiod", http10)}},
		{name: "another root", root: "mesh", objects: []mizzen.Object{istiod(t, "mesh", "istiod", http10)}, want: worker.Flags{"PILOT_HTTP10": "true"}},
		{
			name: "of two revisions the one without a name",
			objects: []mizzen.Object{
				istiod(t, "istio-system", "istiod-canary", "[]"), istiod(t, "istio-system", "istiod", http10),
			},
			want: worker.Flags{"PILOT_HTTP10": "true"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			job := worker.Job{Both: worker.Send(c.objects), RootNamespace: c.root}
			if diff := cmp.Diff(c.want, job.Flags()); diff != "" {
				t.Errorf("flags (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFlagChanges(t *testing.T) {
	job := worker.Job{
		Before: worker.Send([]mizzen.Object{istiod(t, "istio-system", "istiod", "[{name: PILOT_HTTP10, value: 'true'}, {name: PILOT_ENABLE_ALPN_FILTER, value: 'false'}]")}),
		After:  worker.Send([]mizzen.Object{istiod(t, "istio-system", "istiod", "[{name: PILOT_TRACE_SAMPLING, value: '5'}, {name: PILOT_ENABLE_ALPN_FILTER, value: 'false'}]")}),
	}
	want := []worker.FlagChange{{Name: "PILOT_HTTP10", Before: "true", Compiled: true}, {Name: "PILOT_TRACE_SAMPLING", After: "5", Compiled: true}}
	if diff := cmp.Diff(want, job.FlagChanges()); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	if want := (worker.Flags{"PILOT_TRACE_SAMPLING": "5", "PILOT_ENABLE_ALPN_FILTER": "false"}); !cmp.Equal(want, job.Flags()) {
		t.Errorf("the job's flags are %v, want those of after", job.Flags())
	}
	both := worker.Job{Both: job.After}
	if got := both.FlagChanges(); len(got) != 0 {
		t.Errorf("one istiod changes %v", got)
	}
}

// A flag decides about a route, in a process that another flag started, and
// not in the next one.
func TestFlagsReachIstiod(t *testing.T) {
	var client worker.Client
	defer client.Close()
	for _, c := range []struct {
		env   string
		knows bool
	}{
		{"[]", true},
		{"[{name: PILOT_ENABLE_ABSOLUTE_FQDN_VHOST_DOMAIN, value: 'false'}, {name: PILOT_ENABLE_AMBIENT, value: 'true'}]", false},
		{"[{name: PILOT_HTTP10, value: 'true'}]", true},
	} {
		mesh, err := client.Mesh(append(services(t, 2), istiod(t, "istio-system", "istiod", c.env)), "")
		if err != nil {
			t.Fatal(err)
		}
		// The second question is without the objects.
		for range 2 {
			answer, err := mesh.Trace(t.Context(), trace.Question{From: "team-0/svc-0", URL: "http://svc-1.team-0.svc.cluster.local./"})
			if err != nil {
				t.Fatal(err)
			}
			if rule := answer.Hops[0].Rule; (rule.Origin.String() == "svc-1/service.yaml:26") != c.knows {
				t.Errorf("with %s the host's rule is %v", c.env, rule)
			}
		}
	}
}
