package worker

import (
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic/compile"
)

// Flags are istiod's feature flags by name, as its Deployment sets them. Only
// those of allowed are in it. istiod's code reads them when a process starts,
// so that a worker serves one set of them.
type Flags map[string]string

// maxFlagBytes bounds the value of a flag, in bytes; a longer one is left out.
const maxFlagBytes = 4 << 10

// allowed are the flags that change what istiod generates for the objects of
// one cluster. Those that make it fetch, listen, read files or write status
// stay out, and so do those by which it chooses what to read from its API
// server: a worker is given its objects.
var allowed = func() map[string]bool {
	out := map[string]bool{}
	for name := range strings.FieldsSeq(`
	COMPLIANCE_POLICY DISABLE_SHADOW_HOST_SUFFIX DISABLE_TRACK_REMAINING_CB_METRICS
	ENABLE_100_CONTINUE_HEADERS ENABLE_ENHANCED_DESTINATIONRULE_MERGE ENABLE_GATEWAY_API_MANUAL_DEPLOYMENT
	ENABLE_HCM_INTERNAL_NETWORKS ENABLE_INGRESS_WAYPOINT_ROUTING ENABLE_LAYERED_WAYPOINT_AUTHORIZATION_POLICIES
	ENABLE_LAZY_SIDECAR_EVALUATION ENABLE_LOCALITY_WEIGHTED_LB_CONFIG ENABLE_SELECTOR_BASED_K8S_GATEWAY_POLICY
	ENABLE_TLS_ON_SIDECAR_INGRESS ENABLE_WILDCARD_HOST_SERVICE_ENTRIES_FOR_TLS ENVOY_STATUS_PORT_ENABLE_PROXY_PROTOCOL
	ISTIO_DUAL_STACK ISTIO_ENABLE_IPV4_OUTBOUND_LISTENER_FOR_IPV6_CLUSTERS ISTIO_MULTIROOT_MESH
	LABEL_CANONICAL_SERVICES_FOR_MESH_EXTERNAL_SERVICE_ENTRIES MAX_CONNECTIONS_PER_SOCKET_EVENT_LOOP
	METRICS_LOCALHOST_ACCESS_ONLY
	PILOT_ALLOW_ANY_DYNAMIC_DNS_MAX_HOSTS PILOT_ALLOW_SIDECAR_SERVICE_INBOUND_LISTENER_MERGE
	PILOT_AUTO_SEND_UNHEALTHY_ENDPOINTS PILOT_DISABLE_MX_ALPN PILOT_DNS_CARES_UDP_MAX_QUERIES PILOT_DNS_JITTER_DURATION
	PILOT_DRAINING_LABEL PILOT_ENABLE_ABSOLUTE_FQDN_VHOST_DOMAIN PILOT_ENABLE_ALPHA_GATEWAY_API PILOT_ENABLE_ALPN_FILTER
	PILOT_ENABLE_AMBIENT PILOT_ENABLE_AMBIENT_WAYPOINTS PILOT_ENABLE_EDS_FOR_HEADLESS_SERVICES
	PILOT_ENABLE_IP_AUTOALLOCATE PILOT_ENABLE_K8S_SELECT_WORKLOAD_ENTRIES PILOT_ENABLE_METADATA_EXCHANGE
	PILOT_ENABLE_MONGO_FILTER PILOT_ENABLE_MULTIPLE_CUSTOM_AUTHZ_PROVIDERS PILOT_ENABLE_MYSQL_FILTER
	PILOT_ENABLE_PERSISTENT_SESSION_FILTER PILOT_ENABLE_QUIC_LISTENERS PILOT_ENABLE_REDIS_FILTER
	PILOT_ENABLE_ROUTE_COLLAPSE_OPTIMIZATION PILOT_ENABLE_SENDING_HBONE PILOT_ENABLE_SERVICEENTRY_SELECT_PODS
	PILOT_ENABLE_SIDECAR_LISTENING_HBONE PILOT_ENABLE_STRICT_GATEWAY_MERGING PILOT_ENABLE_TELEMETRY_LABEL
	PILOT_ENDPOINT_TELEMETRY_LABEL PILOT_FILTER_GATEWAY_CLUSTER_CONFIG PILOT_GATEWAY_API_CONTROLLER_NAME
	PILOT_GATEWAY_API_DEFAULT_GATEWAYCLASS_NAME PILOT_GATEWAY_TRANSPORT_SOCKET_CONNECT_TIMEOUT
	PILOT_HBONE_INITIAL_CONNECTION_WINDOW_SIZE PILOT_HBONE_INITIAL_STREAM_WINDOW_SIZE PILOT_HTTP10
	PILOT_IP_AUTOALLOCATE_IPV4_PREFIX PILOT_IP_AUTOALLOCATE_IPV6_PREFIX PILOT_MX_ADDITIONAL_LABELS
	PILOT_PERSISTENT_SESSION_HEADER_LABEL PILOT_PERSISTENT_SESSION_LABEL PILOT_PREFER_SENDING_HBONE
	PILOT_SCOPE_GATEWAY_TO_NAMESPACE PILOT_SEND_UNHEALTHY_ENDPOINTS PILOT_SIDECAR_PICK_BEST_SERVICE_NAMESPACE
	PILOT_SIDECAR_USE_REMOTE_ADDRESS PILOT_SKIP_VALIDATE_TRUST_DOMAIN PILOT_TRACE_SAMPLING PILOT_UNIFIED_SIDECAR_SCOPE
	PREFER_DESTINATIONRULE_TLS_FOR_EXTERNAL_SERVICES
	`) {
		out[name] = true
	}
	return out
}()

// Flags returns the flags that decide about the job: those of the istiod of
// Both and After. A worker has one set of them; see FlagChanges.
func (j Job) Flags() Flags {
	flags := flagsOf(j.RootNamespace, j.Both, j.After)
	if flags == nil && wantsAmbient(j.Both, j.Before, j.After) {
		return Flags{enableAmbient: "true"}
	}
	return flags
}

// enableAmbient is istiod's flag for the ambient mesh.
const enableAmbient = "PILOT_ENABLE_AMBIENT"

// wantsAmbient tells whether objects speak of the ambient mesh. Where no istiod
// is among them, it is taken for one that has it: nobody writes a waypoint for
// an istiod that ignores it.
func wantsAmbient(lists ...[]Object) bool {
	for _, list := range lists {
		for _, o := range list {
			u := &unstructured.Unstructured{Object: o.Content}
			class, _, _ := unstructured.NestedString(o.Content, "spec", "gatewayClassName") // what is no text is no class
			if u.GetKind() == "Gateway" && class == waypointClass || dataplaneMode(u.GetLabels()) {
				return true
			}
			pod, _, _ := unstructured.NestedStringMap(o.Content, "spec", "template", "metadata", "labels") // what is no map has no label
			if dataplaneMode(pod) {
				return true
			}
		}
	}
	return false
}

const waypointClass = "istio-waypoint"

func dataplaneMode(labels map[string]string) bool {
	return labels["istio.io/dataplane-mode"] == "ambient"
}

// FlagChange is a variable of istiod that the sides of a comparison set to
// different values. Unset is the empty value.
type FlagChange struct {
	Name   string `json:"name"`
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
	// Compiled tells that each side can be compiled with its own value; what
	// another variable does is not in the model.
	Compiled bool `json:"compiled,omitempty"`
	// Origin is the line of the value, of the side that has one.
	Origin mizzen.Origin `json:"origin,omitzero"`
}

// FlagChanges returns the variables in which the sides of a comparison differ,
// sorted by name; none if only one side has an istiod.
func (j Job) FlagChanges() []FlagChange {
	old, next := istiodOf(j.RootNamespace, j.Both, j.Before), istiodOf(j.RootNamespace, j.Both, j.After)
	if old == nil || next == nil {
		return nil
	}
	before, after := variablesOf(old), variablesOf(next)
	names := slices.Concat(slices.Collect(maps.Keys(before)), slices.Collect(maps.Keys(after)))
	slices.Sort(names)
	var out []FlagChange
	for _, name := range slices.Compact(names) {
		b, a := before[name], after[name]
		if b.value == a.value {
			continue
		}
		c := FlagChange{Name: name, Before: b.value, After: a.value, Compiled: allowed[name], Origin: next.Origins.Of(a.path)}
		if a.path == "" {
			c.Origin = old.Origins.Of(b.path)
		}
		out = append(out, c)
	}
	return out
}

// istiodOf returns the istiod among objects, or nil. Of several revisions it is
// the one without a name of its own, or the first by name: a mesh has one set
// of flags but for the time of an upgrade.
func istiodOf(root string, lists ...[]Object) *Object {
	if root == "" {
		root = compile.DefaultRoot
	}
	var istiod *Object
	name := ""
	for _, list := range lists {
		for i := range list {
			u := &unstructured.Unstructured{Object: list[i].Content}
			if u.GetKind() != "Deployment" || u.GetNamespace() != root || u.GetLabels()["app"] != "istiod" {
				continue
			}
			if istiod == nil || u.GetName() < name { // "istiod" is less than "istiod-canary"
				istiod, name = &list[i], u.GetName()
			}
		}
	}
	return istiod
}

// flagsOf reads the flags of the istiod among objects; nil without one.
func flagsOf(root string, lists ...[]Object) Flags {
	istiod := istiodOf(root, lists...)
	if istiod == nil {
		return nil
	}
	flags := Flags{}
	for name, v := range variablesOf(istiod) {
		if allowed[name] {
			flags[name] = v.value
		}
	}
	return flags
}

// variable is a value that stands in a manifest, and where.
type variable struct {
	value string
	path  mizzen.Path
}

// variablesOf returns the variables of istiod's containers whose value is
// written there.
func variablesOf(istiod *Object) map[string]variable {
	const at = mizzen.Path("spec.template.spec.containers")
	out := map[string]variable{}
	containers, _, _ := unstructured.NestedSlice(istiod.Content, "spec", "template", "spec", "containers") // what is no list has no flags
	for i, c := range containers {
		container, _ := c.(map[string]any)
		env, _, _ := unstructured.NestedSlice(container, "env")
		for j, e := range env {
			v, _ := e.(map[string]any)
			name, _ := v["name"].(string)
			value, literal := v["value"].(string)
			// "$(" refers to another variable, which is not known here.
			if literal && name != "" && len(value) <= maxFlagBytes && !strings.Contains(value, "$(") && !strings.ContainsRune(value, 0) {
				out[name] = variable{value, at.Index(i).Key("env").Index(j).Key("value")}
			}
		}
	}
	return out
}

// environ returns the flags as variables of a process, sorted.
func (f Flags) environ() []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(f)) {
		out = append(out, name+"="+f[name])
	}
	return out
}
