package oracle

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"sigs.k8s.io/yaml"

	"mizzen.dev/mizzen/internal/traffic"
	"mizzen.dev/mizzen/internal/traffic/compile"
	"mizzen.dev/mizzen/test/oracle/internal/generate"
	"mizzen.dev/mizzen/test/oracle/internal/runnable"
)

// configuration is one side of a proxy that an Envoy runs.
type configuration struct {
	name  string
	proxy *traffic.Proxy
	side  runnable.Side
}

// compiled returns the mesh of objects. A rejected object is a defect of the
// scenario or of the generator: it would test less than it seems to.
func compiled(t *testing.T, m generate.Mesh) *traffic.Mesh {
	t.Helper()
	objects, err := generate.Objects(m.Objects)
	if err != nil {
		t.Fatal(err)
	}
	mesh, err := compile.Compile(t.Context(), objects, compile.Options{MeshConfig: []byte(m.MeshConfig)})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range mesh.Rejected {
		t.Errorf("%s is rejected at %s: %s", r.Ref, r.Path, r.Reason)
	}
	return mesh
}

// sides returns what to try of a mesh: of each namespace what one sidecar
// sends, what the workloads with the label of inbound calls receive, and all
// gateways and waypoints.
func sides(mesh *traffic.Mesh, name string) []configuration {
	var out []configuration
	seen := map[string]bool{}
	for _, p := range mesh.Proxies {
		switch {
		case p.Role == traffic.Waypoint:
			out = append(out, configuration{name + " waypoint " + p.Name, p, runnable.Waypoint})
		case p.Role == traffic.Gateway:
			out = append(out, configuration{name + " gateway " + p.Name, p, runnable.Gateway})
		case p.Workload.Labels[generate.InboundLabel] == "true":
			out = append(out, configuration{name + " inbound " + p.Name, p, runnable.Inbound})
		case p.Role == traffic.Sidecar && !seen[p.Workload.Namespace]:
			seen[p.Workload.Namespace] = true
			out = append(out, configuration{name + " outbound " + p.Name, p, runnable.Outbound})
		}
	}
	return out
}

// scenarios returns the meshes and route configurations of some files: one
// whose documents are objects, or one whose name begins with "routes", which
// is a list of what istiod rarely writes. Keys are put where @KEYS@ stands.
func scenarios(t *testing.T, pattern, keys string) []configuration {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("testdata: %v, %d files", err, len(files))
	}
	var out []configuration
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		if strings.HasPrefix(name, "routes") {
			out = append(out, configuration{name, written(t, text), runnable.Outbound})
			continue
		}
		objects := strings.ReplaceAll(string(text), "@KEYS@", keys)
		out = append(out, sides(compiled(t, generate.Mesh{Objects: objects}), name)...)
	}
	return out
}

// managers are changes of connection managers: all that meshes do to requests
// before routing.
var managers = []map[string]any{
	{},
	{"normalize_path": true},
	{"normalize_path": true, "merge_slashes": true},
	{"normalize_path": true, "merge_slashes": true, "path_with_escaped_slashes_action": "UNESCAPE_AND_FORWARD"},
	{"strip_any_host_port": true, "strip_trailing_host_dot": true},
	{"use_remote_address": true, "path_with_escaped_slashes_action": "REJECT_REQUEST"},
	// As the profile EDGE has it.
	{
		"normalize_path": true, "merge_slashes": true, "path_with_escaped_slashes_action": "UNESCAPE_AND_REDIRECT", "use_remote_address": true,
		"append_x_forwarded_port":      true,
		"common_http_protocol_options": map[string]any{"headers_with_underscores_action": "REJECT_REQUEST"}, "upgrade_configs": websocket,
	},
	{
		"upgrade_configs": websocket, "max_request_headers_kb": 2,
		"common_http_protocol_options": map[string]any{"headers_with_underscores_action": "DROP_HEADER", "max_headers_count": 20},
	},
}

// written returns a proxy whose listeners, on ports 1001 and up, have the route
// configurations of a file, each once for each of the changes, or of managers.
func written(t *testing.T, text []byte, changes ...map[string]any) *traffic.Proxy {
	t.Helper()
	if changes == nil {
		changes = managers
	}
	var configs []any
	if err := yaml.Unmarshal(text, &configs); err != nil {
		t.Fatal(err)
	}
	view := &traffic.View{Routes: map[string]*routev3.RouteConfiguration{}, Clusters: map[string]*clusterv3.Cluster{}}
	add := func(l map[string]any) {
		listener := &listenerv3.Listener{}
		fromYAML(t, l, listener)
		view.Outbound = append(view.Outbound, listener)
	}
	add(rootListener)
	for _, config := range configs {
		for _, change := range changes {
			rc := &routev3.RouteConfiguration{}
			fromYAML(t, config, rc)
			rc.Name = fmt.Sprintf("%s-%d", rc.Name, len(view.Outbound))
			view.Routes[rc.Name] = rc
			add(routesListener(rc.Name, 1000+len(view.Outbound), change))
			for _, name := range clusterNames(rc) {
				view.Clusters[name] = &clusterv3.Cluster{Name: name}
			}
		}
	}
	view.Clusters["BlackHoleCluster"] = &clusterv3.Cluster{Name: "BlackHoleCluster"}
	return &traffic.Proxy{Name: "written", Role: traffic.Sidecar, Outbound: traffic.NewPart(func() *traffic.View { return view })}
}

// websocket is what istiod lets connections change to.
var websocket = []any{map[string]any{"upgrade_type": "websocket"}}

// rootListener takes what a kernel redirects.
var rootListener = map[string]any{
	"name": "virtualOutbound", "use_original_dst": true,
	"address": map[string]any{"socket_address": map[string]any{"address": "0.0.0.0", "port_value": 15001}},
	"filter_chains": []any{map[string]any{"filters": []any{map[string]any{
		"name": "envoy.filters.network.tcp_proxy",
		"typed_config": map[string]any{
			"@type":       "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
			"stat_prefix": "x", "cluster": "BlackHoleCluster",
		},
	}}}},
}

// routesListener serves a route configuration; change is what to set in the
// connection manager.
func routesListener(routes string, port int, change map[string]any) map[string]any {
	manager := map[string]any{
		"@type":       "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
		"stat_prefix": routes, "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
		"rds": map[string]any{"route_config_name": routes, "config_source": map[string]any{"ads": map[string]any{}, "resource_api_version": "V3"}},
		"http_filters": []any{map[string]any{
			"name":         "envoy.filters.http.router",
			"typed_config": map[string]any{"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
		}},
	}
	for k, v := range change {
		manager[k] = v
	}
	return map[string]any{
		"name": routes, "bind_to_port": false,
		"address":       map[string]any{"socket_address": map[string]any{"address": "0.0.0.0", "port_value": port}},
		"filter_chains": []any{map[string]any{"filters": []any{map[string]any{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}}}},
	}
}

func fromYAML(t *testing.T, from any, to proto.Message) {
	t.Helper()
	text, err := yaml.Marshal(from)
	if err != nil {
		t.Fatal(err)
	}
	if text, err = yaml.YAMLToJSON(text); err != nil {
		t.Fatal(err)
	}
	if err := protojson.Unmarshal(bytes.TrimSpace(text), to); err != nil {
		t.Fatal(err)
	}
}

// clusterNames returns the clusters that a route configuration names, but for
// those that it wants to miss.
func clusterNames(rc *routev3.RouteConfiguration) []string {
	var out []string
	for _, host := range rc.VirtualHosts {
		for _, route := range host.Routes {
			out = append(out, route.GetRoute().GetCluster())
			for _, c := range route.GetRoute().GetWeightedClusters().GetClusters() {
				out = append(out, c.Name)
			}
			for _, m := range route.GetRoute().GetRequestMirrorPolicies() {
				out = append(out, m.Cluster)
			}
		}
	}
	return slices.DeleteFunc(out, func(name string) bool { return name == "" || strings.HasPrefix(name, "missing") })
}
