package oracle

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/proto"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
	"mizzen.dev/mizzen/internal/traffic/match"
	"mizzen.dev/mizzen/test/oracle/internal/generate"
	"mizzen.dev/mizzen/test/oracle/internal/runnable"
	"mizzen.dev/mizzen/test/oracle/internal/trial"
)

// outsider is the address of callers and servers that no object names.
const outsider = "192.0.2.1"

// clusterDomain is where the names of Services end.
const clusterDomain = ".svc.cluster.local"

// world is a mesh with its look-ups.
type world struct {
	*traffic.Mesh
	addresses map[string]string // workloads by address
	workloads map[string]*traffic.Workload
	proxies   map[string]*traffic.Proxy
}

func newWorld(m *traffic.Mesh) *world {
	w := &world{Mesh: m, addresses: map[string]string{}, workloads: map[string]*traffic.Workload{}, proxies: map[string]*traffic.Proxy{}}
	for _, x := range m.Workloads {
		w.addresses[x.Address], w.workloads[x.Name] = x.Name, x
	}
	for _, p := range m.Proxies {
		w.proxies[p.Name] = p
	}
	return w
}

// visit is a witness at one side: which proxy is asked, what it is sent, and
// what is seen of it.
type visit struct {
	proxy  *traffic.Proxy
	view   *traffic.View
	side   runnable.Side
	behind runnable.Behind
	// key is the same for the same configuration.
	key  string
	call generate.Call
	code mizzen.EffectCode
	// bytes tells that no HTTP is spoken about.
	bytes bool
	// host is the full name of whom the request is for.
	host string
	seen portrait
}

// visit finds the proxy that decides about an effect's witness, and the call
// that it is to decide about. Names mean what they mean in either mesh.
func (w *world) visit(e mizzen.Effect, other *world) (visit, bool) {
	scheme, rest, _ := strings.Cut(e.Witness.URL, "://")
	v := visit{code: e.Code, call: generate.Call{Request: generate.Request{Method: e.Witness.Method}}}
	if v.call.Method == http.MethodConnect {
		v.call.Method, v.bytes = http.MethodGet, true // any bytes do
	}
	v.headers(e.Witness.Headers)
	v.claims(e.Witness.Claims)
	var ok bool
	if server, port, path := serverOf(rest); w.proxies[server] != nil || other.proxies[server] != nil {
		ok = w.receive(&v, e.Witness.From, server, port)
		if e.Witness.Address != "" {
			v.call.Address = e.Witness.Address
		}
		v.call.Path = path
	} else {
		host, path, _ := strings.Cut(rest, "/")
		v.call.Path = "/" + path
		ok = w.send(&v, e, scheme, host, other)
	}
	if !ok {
		return v, false
	}
	v.behind = w.behind(v.view)
	v.key = v.fingerprint()
	return v, true
}

// headers adds a witness's headers; a token in words is that of its claims.
func (v *visit) headers(list map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(list)) {
		switch {
		case strings.HasPrefix(list[name], "Bearer a token of "):
		case strings.EqualFold(name, "host"):
			v.call.Host = list[name]
		default:
			v.call.Header = append(v.call.Header, [2]string{name, list[name]})
		}
	}
}

// claims adds the token that has a witness's claims.
func (v *visit) claims(list map[string]any) {
	if list == nil {
		return
	}
	t := &generate.Token{Claims: map[string]any{}}
	for name, value := range list {
		text, _ := value.(string)
		switch name {
		case "iss":
			t.Issuer = text
		case "sub":
			t.Subject = text
		case "aud":
			if t.Audiences = []string{text}; text == "" {
				t.Audiences, _ = value.([]string)
			}
		default:
			t.Claims[name] = value
		}
	}
	v.call.Token = t
}

// serverOf reads a URL that names a workload: "shop/orders:8080/path".
func serverOf(rest string) (workload, port, path string) {
	parts := strings.SplitN(rest, "/", 3)
	if len(parts) < 3 {
		return "", "", ""
	}
	name, port, _ := strings.Cut(parts[1], ":")
	return parts[0] + "/" + name, port, "/" + parts[2]
}

// receive is for what a workload's own proxy decides.
func (w *world) receive(v *visit, from, server, port string) bool {
	v.proxy = w.proxies[server]
	if v.proxy == nil || v.proxy.Workload == nil || v.proxy.Role == traffic.Ztunnel {
		return false
	}
	workload := v.proxy.Workload
	v.view, v.side = v.proxy.View(), runnable.Inbound
	v.call.Caller = generate.Caller{Trust: generate.Plaintext, Address: outsider}
	if caller := w.workloads[from]; caller != nil {
		v.call.Caller = generate.Caller{Trust: generate.OfMesh, Identity: caller.Identity, Sidecar: true, Address: caller.Address}
	} else if identity, ok := w.foreigner(from); ok {
		v.call.Caller = generate.Caller{Trust: generate.OfMesh, Identity: identity, Sidecar: true, Address: outsider}
	} else if from != "outside" {
		return false
	}
	if port == "" && len(workload.Ports) > 0 {
		port = strconv.FormatUint(uint64(workload.Ports[0].Target), 10)
	}
	if v.call.Host == "" {
		v.call.Host = "any.example"
	}
	address := workload.Address
	if v.proxy.Role == traffic.Gateway {
		v.side, address = runnable.Gateway, outsider
	}
	v.call.Destination = net.JoinHostPort(address, port)
	return true
}

// foreigner is the identity of a caller that no workload is: "billing/api (not in
// this repository)".
func (w *world) foreigner(from string) (identity string, ok bool) {
	name, ok := strings.CutSuffix(from, " (not in this repository)")
	name, domain, _ := strings.Cut(name, " of the trust domain ")
	namespace, account, found := strings.Cut(name, "/")
	if !found {
		namespace, account = strings.TrimPrefix(name, "a workload of "), "any-other"
	}
	return cmp.Or(domain, w.TrustDomain) + "/ns/" + namespace + "/sa/" + account, ok && !strings.Contains(namespace, " ") && !strings.Contains(account, " ")
}

// send is for what the caller's proxy decides, or a gateway.
func (w *world) send(v *visit, e mizzen.Effect, scheme, hostPort string, other *world) bool {
	host, port, found := strings.Cut(hostPort, ":")
	if !found {
		port = map[string]string{"http": "80", "https": "443"}[scheme]
	}
	for _, m := range []*world{w, other} {
		if _, known := m.Hosts[host+clusterDomain]; known {
			host += clusterDomain
			break
		}
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return false
	}
	v.host, v.call.Host = host, host
	v.call.Caller = generate.Caller{Trust: generate.Plaintext, Address: outsider}
	if scheme == "https" || scheme == "tls" {
		v.call.Caller = generate.Caller{Trust: generate.Anonymous, Address: outsider, ServerName: host}
	}
	if e.Witness.From != "outside" {
		v.proxy = w.proxies[e.Witness.From]
		if v.proxy != nil && v.proxy.Role == traffic.Ztunnel {
			return w.tunnel(v, host, uint16(n))
		}
		if v.proxy == nil || v.proxy.Role != traffic.Sidecar {
			return false
		}
		v.view, v.side = v.proxy.View(), runnable.Outbound
		v.call.Destination = fmt.Sprintf("%s:%d", w.addressFor(v.view, host, uint32(n)), n)
		return true
	}
	if len(e.Callers) == 0 || w.proxies[e.Callers[0]] == nil {
		return false
	}
	v.proxy, v.side = w.proxies[e.Callers[0]], runnable.Gateway
	v.view = v.proxy.View()
	for _, p := range v.proxy.Workload.Ports {
		if uint64(p.Port) == n {
			n = uint64(p.Target)
			break
		}
	}
	v.call.Destination = fmt.Sprintf("%s:%d", outsider, n)
	return true
}

// tunnel is for what the waypoint of a host decides about a request that comes by
// a tunnel from the workload that v.proxy stands for.
func (w *world) tunnel(v *visit, host string, port uint16) bool {
	shares := w.Waypoints[host]
	if len(shares) != 1 || w.proxies[shares[0].Waypoint] == nil {
		return false
	}
	caller := v.proxy.Workload
	v.call.Caller = generate.Caller{Trust: generate.OfMesh, Identity: caller.Identity, Address: caller.Address}
	v.call.Destination = fmt.Sprintf("%s:%d", w.addressFor(v.proxy.View(), host, uint32(port)), port)
	v.proxy, v.side = w.proxies[shares[0].Waypoint], runnable.Waypoint
	v.view = v.proxy.View()
	return true
}

// handshake is for callers and servers that do not understand each other: a
// server's proxy is asked in the way that callers speak, which words tell.
func (w *world) handshake(e mizzen.Effect, words string) (visit, bool) {
	caller := w.proxies[e.Witness.From]
	host, port, found := strings.Cut(e.Subject, ":")
	if caller == nil || !found {
		return visit{}, false
	}
	view := caller.View()
	cluster := "outbound|" + port + "||" + host + clusterDomain
	for _, server := range w.behind(view)(cluster) {
		v := visit{code: e.Code, call: generate.Call{Request: generate.Request{Method: e.Witness.Method, Path: "/", Host: host}}}
		from := "outside"
		if strings.HasPrefix(words, "callers speak mTLS") {
			from = e.Witness.From
		}
		if w.receive(&v, from, server, "") {
			if strings.HasPrefix(words, "callers speak TLS without") {
				v.call.Trust = generate.Anonymous
			}
			v.behind = w.behind(v.view)
			v.key = v.fingerprint()
			return v, true
		}
	}
	return visit{}, false
}

// addressFor is what DNS answers for a host: its address, or for one without,
// that of a listener that leads to it.
func (w *world) addressFor(view *traffic.View, host string, port uint32) string {
	if own := w.Addresses[host]; len(own) > 0 {
		return own[0]
	}
	for _, l := range view.Outbound {
		at := l.GetAddress().GetSocketAddress()
		if at.GetPortValue() == port && at.GetAddress() != "0.0.0.0" && leadsTo(l, host) {
			return at.GetAddress()
		}
	}
	return outsider
}

func leadsTo(l *listenerv3.Listener, host string) bool {
	for _, chain := range l.GetFilterChains() {
		stack, err := match.Open(chain)
		if err != nil {
			continue
		}
		for _, d := range stack.TCP {
			if strings.HasSuffix(d.Cluster, "|"+host) {
				return true
			}
		}
	}
	return false
}

// behind names the workloads of a cluster's endpoints, or addresses that no
// workload has. What Envoy would find out itself has one stand-in.
func (w *world) behind(view *traffic.View) runnable.Behind {
	return func(cluster string) []string {
		c := view.Clusters[cluster]
		load := c.GetLoadAssignment()
		if c.GetType() == clusterv3.Cluster_EDS {
			load = endpointsOf(view, c)
		} else if len(load.GetEndpoints()) == 0 {
			return []string{cluster}
		}
		var out []string
		for _, locality := range load.GetEndpoints() {
			for _, e := range locality.GetLbEndpoints() {
				address := addressOf(e.GetEndpoint().GetAddress())
				if name := w.addresses[address]; name != "" {
					address = name
				}
				out = append(out, address)
			}
		}
		slices.Sort(out)
		return slices.Compact(out)
	}
}

// addressOf is the address of an endpoint, also of one that a tunnel leads to.
func addressOf(a *corev3.Address) string {
	if id := a.GetEnvoyInternalAddress().GetEndpointId(); id != "" {
		host, _, _ := strings.Cut(id, ":")
		return host
	}
	return a.GetSocketAddress().GetAddress()
}

func endpointsOf(view *traffic.View, c *clusterv3.Cluster) *endpointv3.ClusterLoadAssignment {
	if load := view.Endpoints[c.GetName()]; load != nil {
		return load
	}
	return view.Endpoints[c.GetEdsClusterConfig().GetServiceName()]
}

// fingerprint tells configurations apart, with all that an Envoy is given.
func (v *visit) fingerprint() string {
	sum := sha256.New()
	fmt.Fprintln(sum, v.side, v.proxy.Name, v.proxy.Workload.Identity, v.proxy.Workload.Address)
	add := func(m proto.Message) {
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		fmt.Fprintln(sum, len(b), err)
		sum.Write(b)
	}
	listeners := v.view.Inbound
	if v.side == runnable.Outbound {
		listeners = v.view.Outbound
	}
	for _, l := range listeners {
		add(l)
	}
	for _, name := range slices.Sorted(maps.Keys(v.view.Routes)) {
		add(v.view.Routes[name])
	}
	for _, name := range slices.Sorted(maps.Keys(v.view.Clusters)) {
		add(v.view.Clusters[name])
		fmt.Fprintln(sum, v.behind(name))
	}
	return fmt.Sprintf("%x", sum.Sum(nil))
}

// sends is how often a witness is sent: shares show as whole numbers.
const sends = 100

// look sends the witness and keeps what is seen.
func (v *visit) look(ctx context.Context, x *trial.Trial) error {
	calls := make([]generate.Call, sends)
	for i := range calls {
		calls[i] = v.call
		// The bucket falls into the i-th hundredth, of weights and of a million.
		calls[i].Bucket = uint32(i*10_000 + i)
	}
	settle, atOnce := time.Duration(0), 1
	switch v.code {
	case mizzen.EffectMirror:
		settle = 200 * time.Millisecond
	case mizzen.EffectFault:
		atOnce = sends // some may be delayed
	}
	all, err := x.Send(ctx, calls, atOnce, settle)
	if err != nil {
		return err
	}
	v.seen = portray(all)
	if v.code != mizzen.EffectRetries {
		return nil
	}
	calls = []generate.Call{v.call, v.call}
	calls[0].Fail = 503
	calls[1].Answer = [][2]string{{"grpc-status", "14"}} // unavailable
	if all, err = x.Send(ctx, calls, 1, 0); err != nil {
		return err
	}
	v.seen.attempts = [2]int{len(all[0].Hits), len(all[1].Hits)}
	return nil
}
