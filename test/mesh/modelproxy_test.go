package mesh

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	admin "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// dump is what we read of Envoy's /config_dump.
type dump struct {
	listeners admin.ListenersConfigDump
	routes    admin.RoutesConfigDump
	clusters  admin.ClustersConfigDump
	node      *core.Node
}

// configDump asks the Envoy of a pod what it has.
func (m *team) configDump(pod *corev1.Pod) (*dump, error) {
	out, err := m.try("exec", "-n", pod.Namespace, pod.Name, "-c", "istio-proxy", "--", "pilot-agent", "request", "GET", "config_dump")
	if err != nil {
		return nil, fmt.Errorf("config_dump of %s: %w\n%s", pod.Name, err, out)
	}
	d, err := decodeDump([]byte(out))
	if err != nil {
		return nil, fmt.Errorf("config_dump of %s: %w", pod.Name, err)
	}
	return d, nil
}

func decodeDump(text []byte) (*dump, error) {
	var all struct{ Configs []json.RawMessage }
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, err
	}
	var d dump
	for _, config := range all.Configs {
		var kind struct {
			Type string `json:"@type"`
		}
		if err := json.Unmarshal(config, &kind); err != nil {
			return nil, err
		}
		into := map[string]proto.Message{
			"Listeners": &d.listeners, "Routes": &d.routes, "Clusters": &d.clusters,
		}[strings.TrimSuffix(strings.TrimPrefix(kind.Type, "type.googleapis.com/envoy.admin.v3."), "ConfigDump")]
		var err error
		switch {
		case into != nil:
			var a anypb.Any
			if err = decodeEnvoy(config, &a); err == nil {
				err = a.UnmarshalTo(into)
			}
		case strings.HasSuffix(kind.Type, ".BootstrapConfigDump"):
			d.node, err = nodeOf(config)
		}
		if err != nil {
			return nil, err
		}
	}
	return &d, nil
}

func decodeEnvoy(b []byte, into proto.Message) error {
	return protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(b, into)
}

// nodeOf returns how a proxy describes itself to istiod.
func nodeOf(bootstrap []byte) (*core.Node, error) {
	var b struct {
		Bootstrap struct{ Node json.RawMessage }
	}
	if err := json.Unmarshal(bootstrap, &b); err != nil {
		return nil, err
	}
	node := &core.Node{}
	return node, decodeEnvoy(b.Bootstrap.Node, node)
}

// resources returns what came by ADS.
func (d *dump) resources(t *testing.T, f form) resources {
	t.Helper()
	r := resources{}
	take := func(a *anypb.Any) {
		t.Helper()
		m, err := a.UnmarshalNew()
		if err != nil {
			t.Fatal(err)
		}
		r.add(f, m)
	}
	for _, l := range d.listeners.DynamicListeners {
		if s := l.GetActiveState(); s != nil {
			take(s.Listener)
		}
	}
	for _, x := range d.routes.DynamicRouteConfigs {
		take(x.RouteConfig)
	}
	for _, c := range d.clusters.DynamicActiveClusters {
		take(c.Cluster)
	}
	return r
}

// plaintext opens istiod's port without TLS, on which it believes who asks.
func (m *team) plaintext() *grpc.ClientConn {
	m.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, m.lab.Kubectl(), "--kubeconfig", m.lab.Kubeconfig, "port-forward", "-n", "istio-system", "service/istiod", ":15010")
	out, err := cmd.StdoutPipe()
	if err != nil {
		m.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		m.Fatal(err)
	}
	m.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // it was killed
	})
	lines := bufio.NewReader(out)
	line, err := lines.ReadString('\n') // Forwarding from 127.0.0.1:38007 -> 15010
	if err != nil {
		m.Fatalf("port-forward: %v", err)
	}
	go func() { _, _ = io.Copy(io.Discard, lines) }()
	address := strings.Fields(line)[2]
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		m.Fatal(err)
	}
	m.Cleanup(func() { _ = conn.Close() })
	return conn
}

// stranger describes the proxy that a pod would have, as its agent does: as
// that of example, but for what is the pod's own.
func stranger(t *testing.T, example *core.Node, pod *corev1.Pod) *core.Node {
	t.Helper()
	if example == nil {
		t.Fatalf("no proxy of the shop is of the kind of %s", pod.Name)
	}
	node, _ := proto.Clone(example).(*core.Node)
	workload := workloadOf(pod)
	_, short, _ := strings.Cut(workload, "/")
	var ports []any
	for _, c := range pod.Spec.Containers {
		for _, p := range c.Ports {
			if c.Name != "istio-proxy" {
				ports = append(ports, map[string]any{"name": p.Name, "containerPort": p.ContainerPort, "protocol": p.Protocol})
			}
		}
	}
	podPorts, err := json.Marshal(ports)
	if err != nil {
		t.Fatal(err)
	}
	labels := map[string]any{}
	for k, v := range pod.Labels {
		if k != "pod-template-hash" {
			labels[k] = v
		}
	}
	own, err := structpb.NewStruct(map[string]any{
		"NAME": pod.Name, "NAMESPACE": pod.Namespace, "WORKLOAD_NAME": short, "SERVICE_ACCOUNT": pod.Spec.ServiceAccountName,
		"INSTANCE_IPS": pod.Status.PodIP, "NODE_NAME": pod.Spec.NodeName, "POD_PORTS": string(podPorts), "LABELS": labels,
		"OWNER": "kubernetes://apis/apps/v1/namespaces/" + pod.Namespace + "/deployments/" + short,
	})
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range own.Fields {
		node.Metadata.Fields[k] = v
	}
	node.Id = fmt.Sprintf("%s~%s~%s.%s~%s.svc.cluster.local", proxyKind(pod), pod.Status.PodIP, pod.Name, pod.Namespace, pod.Namespace)
	node.Cluster = pod.Labels["app"] + "." + pod.Namespace
	return node
}

// proxyKind is what the agent of a pod calls its proxy.
func proxyKind(pod *corev1.Pod) string {
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		if i := slices.Index(c.Args, "proxy"); c.Name == "istio-proxy" && i >= 0 && i+1 < len(c.Args) {
			return c.Args[i+1]
		}
	}
	return ""
}

// workloadOf returns the name of the Deployment of a pod, with its namespace.
func workloadOf(pod *corev1.Pod) string {
	set := pod.GenerateName
	if len(pod.OwnerReferences) > 0 {
		set = pod.OwnerReferences[0].Name
	}
	return pod.Namespace + "/" + strings.TrimSuffix(strings.TrimSuffix(set, "-"), "-"+pod.Labels["pod-template-hash"])
}

// types of resources, in the order in which Envoy asks for them.
const (
	clusterType  = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	endpointType = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
	listenerType = "type.googleapis.com/envoy.config.listener.v3.Listener"
	routeType    = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
)

// sent asks istiod, as a proxy would, for all that it sends to a node.
func sent(ctx context.Context, conn *grpc.ClientConn, node *core.Node, f form) (resources, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := discovery.NewAggregatedDiscoveryServiceClient(conn).StreamAggregatedResources(ctx)
	if err != nil {
		return nil, err
	}
	r := resources{}
	ask := func(kind string, names []string) (out []proto.Message, err error) {
		if err := stream.Send(&discovery.DiscoveryRequest{Node: node, TypeUrl: kind, ResourceNames: names}); err != nil {
			return nil, err
		}
		for {
			response, err := stream.Recv()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", kind, err)
			}
			if response.TypeUrl != kind {
				continue // a push of what was asked for before
			}
			for _, a := range response.Resources {
				m, err := a.UnmarshalNew()
				if err != nil {
					return nil, err
				}
				out = append(out, m)
				r.add(f, m)
			}
			return out, nil
		}
	}
	clusters, err := ask(clusterType, nil)
	if err != nil {
		return nil, err
	}
	if names := endpointNames(clusters); len(names) > 0 { // it does not answer who asks for none
		if _, err := ask(endpointType, names); err != nil {
			return nil, err
		}
	}
	listeners, err := ask(listenerType, nil)
	if err != nil {
		return nil, err
	}
	if names := routeNames(listeners); len(names) > 0 { // those of a waypoint are in its listeners
		_, err = ask(routeType, names)
	}
	return r, err
}

func endpointNames(clusters []proto.Message) (names []string) {
	for _, m := range clusters {
		if c, ok := m.(*clusterv3.Cluster); ok && c.GetType() == clusterv3.Cluster_EDS {
			names = append(names, c.Name)
		}
	}
	return names
}

func routeNames(listeners []proto.Message) (names []string) {
	for _, m := range listeners {
		l, _ := m.(*listenerv3.Listener)
		for _, chain := range append(l.GetFilterChains(), l.GetDefaultFilterChain()) {
			for _, f := range chain.GetFilters() {
				var hcm hcmv3.HttpConnectionManager
				if f.GetTypedConfig().UnmarshalTo(&hcm) == nil && hcm.GetRds() != nil {
					names = append(names, hcm.GetRds().RouteConfigName)
				}
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// rolledOut tells whether all pods of the Deployments of namespaces are ready.
func (m *team) rolledOut(namespaces map[string]string) func(context.Context) bool {
	return func(ctx context.Context) bool {
		deployments, err := m.core.AppsV1().Deployments("").List(ctx, metav1.ListOptions{})
		if err != nil {
			return false
		}
		n := 0
		for i := range deployments.Items {
			d := &deployments.Items[i]
			if namespaces[d.Namespace] == "" {
				continue
			}
			if d.Status.ObservedGeneration != d.Generation || d.Status.ReadyReplicas != *d.Spec.Replicas {
				return false
			}
			n++
		}
		return n >= len(namespaces)
	}
}

// outlive runs kubectl when the test's context has ended.
func (m *team) outlive(args ...string) {
	if out, err := exec.Command(m.lab.Kubectl(), args...).CombinedOutput(); err != nil {
		m.Logf("kubectl %v: %v\n%s", args, err, out)
	}
}
