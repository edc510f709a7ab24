package worker

import (
	"strings"
	"testing"

	"mizzen.dev/mizzen"
)

// A VirtualService that the change brings loses to those that are there, also
// to those that only the cluster holds, whatever their names.
func TestNewcomersAreYoungest(t *testing.T) {
	object := func(apiVersion, kind string, metadata, spec map[string]any) Object {
		return Object{Content: map[string]any{"apiVersion": apiVersion, "kind": kind, "metadata": metadata, "spec": spec}}
	}
	route := func(metadata map[string]any, path string) Object {
		metadata["namespace"] = "shop"
		return object("networking.istio.io/v1", "VirtualService", metadata, map[string]any{
			"hosts": []any{"web"}, "http": []any{map[string]any{"rewrite": map[string]any{"uri": path}, "route": []any{
				map[string]any{"destination": map[string]any{"host": "web"}},
			}}},
		})
	}
	labels := map[string]any{"app": "web"}
	both := []Object{
		object("v1", "Namespace", map[string]any{"name": "shop", "labels": map[string]any{"istio-injection": "enabled"}}, nil),
		object("v1", "Service", map[string]any{"namespace": "shop", "name": "web"}, map[string]any{
			"selector": labels, "ports": []any{map[string]any{"name": "http", "port": int64(80)}},
		}),
		object("apps/v1", "Deployment", map[string]any{"namespace": "shop", "name": "web"}, map[string]any{
			"selector": map[string]any{"matchLabels": labels}, "template": map[string]any{
				"metadata": map[string]any{"labels": labels}, "spec": map[string]any{"containers": []any{map[string]any{"name": "web", "image": "web"}}},
			},
		}),
		route(map[string]any{"name": "web", "creationTimestamp": "2024-05-01T10:00:00Z"}, "/live"),
	}
	job := Job{Ask: AskEffects, Both: both, After: []Object{route(map[string]any{"name": "a-web"}, "/new")}}
	answer, err := effects(t.Context(), &session{}, job)
	if err != nil {
		t.Fatal(err)
	}
	told := answer.([]mizzen.Effect)
	if len(told) != 1 || told[0].Code != mizzen.EffectConflict || !strings.Contains(told[0].Message, "shop/web wins, as it is older") {
		t.Errorf("told %+v", told)
	}
}
