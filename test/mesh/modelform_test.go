package mesh

import (
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"sigs.k8s.io/yaml"
)

// resources are what a proxy has, by type and name, as YAML in a form in which
// those of a live mesh and of the model can be compared.
type resources map[string]string

// add adds a listener, route, cluster or what is behind a cluster.
func (r resources) add(f form, m proto.Message) {
	var name string
	switch m := m.(type) {
	case *listenerv3.Listener:
		name = "listener " + m.Name
	case *routev3.RouteConfiguration:
		name = "route " + m.Name
	case *clusterv3.Cluster:
		name = "cluster " + m.Name
	case *endpointv3.ClusterLoadAssignment:
		name = "endpoints " + m.ClusterName
	default:
		return
	}
	r[f.named(name)] = f.text(m)
}

// form knows the workloads by the addresses of their pods.
type form map[string]string

var address = regexp.MustCompile(`\d+\.\d+\.\d+\.\d+`)

// named says workloads instead of addresses.
func (f form) named(s string) string {
	return address.ReplaceAllStringFunc(s, func(a string) string {
		if w := f[a]; w != "" {
			return "<" + w + ">"
		}
		return a
	})
}

// texts are what text returned, since proxies have much in common.
var texts = map[string]string{}

func (f form) text(m proto.Message) string {
	key, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return err.Error()
	}
	known, ok := texts[string(key)]
	if !ok {
		known = f.write(m)
		texts[string(key)] = known
	}
	return known
}

func (f form) write(m proto.Message) string {
	b, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		return err.Error()
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return err.Error()
	}
	out, err := yaml.Marshal(f.plain(v))
	if err != nil {
		return err.Error()
	}
	return string(out)
}

// plain removes what says nothing about a request: addresses of pods, names
// that compile gives to routes, where and how many the pods of a workload are,
// what traces say of the pod, and the order of what istiod takes from a map.
func (f form) plain(v any) any {
	switch v := v.(type) {
	case string:
		return f.named(v)
	case []any:
		for i := range v {
			v[i] = f.plain(v[i])
		}
		return v
	case map[string]any:
		for key, item := range v {
			v[key] = f.plain(item)
		}
		f.unite(v)
		stock(v)
		if writtenByVirtualService(v) {
			delete(v, "name")
		}
		if list, ok := v["query_parameters"].([]any); ok {
			slices.SortFunc(list, func(a, b any) int { return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		}
		return v
	}
	return v
}

// writtenByVirtualService tells of a route whether a VirtualService made it.
func writtenByVirtualService(route map[string]any) bool {
	metadata, _ := route["metadata"].(map[string]any)
	filters, _ := metadata["filter_metadata"].(map[string]any)
	istio, _ := filters["istio"].(map[string]any)
	config, _ := istio["config"].(string)
	return route["match"] != nil && strings.Contains(config, "/virtual-service/")
}

// stock removes what the lab's istiod and agents change for waypoints, since
// its Envoy is a stock one: the agents speak as those of Istio 1.29.1, and
// istiod marks two filters as optional.
func stock(v map[string]any) {
	if name := v["name"]; name == "waypoint_downstream_peer_metadata" || name == "waypoint_upstream_peer_metadata" {
		delete(v, "is_optional")
	}
	if v["factory_key"] == "istio.hashable_string" {
		v["factory_key"] = "envoy.string"
	}
}

// unite makes one locality of those of a priority, with each workload once, and
// drops the pod's own tags of traces.
func (f form) unite(v map[string]any) {
	if localities, ok := v["endpoints"].([]any); ok {
		byPriority := map[string][]any{}
		for _, l := range localities {
			locality, _ := l.(map[string]any)
			endpoints, _ := locality["lb_endpoints"].([]any)
			priority := fmt.Sprint(locality["priority"])
			byPriority[priority] = append(byPriority[priority], endpoints...)
		}
		united := map[string]any{}
		for priority, endpoints := range byPriority {
			united[priority] = distinct(endpoints)
		}
		v["endpoints"] = united
	}
	if tags, ok := v["custom_tags"].([]any); ok {
		v["custom_tags"] = slices.DeleteFunc(tags, func(t any) bool {
			tag, _ := t.(map[string]any)
			return tag["tag"] == "istio.canonical_revision" || tag["tag"] == "istio.canonical_service"
		})
	}
}

// distinct takes pods of the same workload for one.
func distinct(endpoints []any) []any {
	slices.SortFunc(endpoints, func(a, b any) int { return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	return slices.CompactFunc(endpoints, func(a, b any) bool { return fmt.Sprint(a) == fmt.Sprint(b) })
}
