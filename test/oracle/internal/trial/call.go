package trial

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"mizzen.dev/mizzen/internal/traffic/match"
	"mizzen.dev/mizzen/test/oracle/internal/client"
	"mizzen.dev/mizzen/test/oracle/internal/generate"
	"mizzen.dev/mizzen/test/oracle/internal/runnable"
	"mizzen.dev/mizzen/test/oracle/internal/upstream"
)

// Kinds of fates that only calls have.
const (
	denied = "denied"
	closed = "closed"
	bytes  = "bytes"
)

// CallAsked is one call with what both sides say.
type CallAsked struct {
	Trial     *Trial
	Call      generate.Call
	Predicted Fate
	Observed  Fate
	// Clusters are those that bytes may go to, by weight.
	Clusters []string
	// Again tells whether it was made twice, since the first answer differed.
	Again bool
	// Failure is how the connection ended, if it did.
	Failure error
}

// Agree tells whether both sides say the same.
func (a CallAsked) Agree() bool {
	predicted := a.Predicted
	if predicted.Kind == bytes && slices.Contains(a.Clusters, a.Observed.Cluster) {
		predicted.Cluster = a.Observed.Cluster // Envoy chose by chance
	}
	return reflect.DeepEqual(predicted, a.Observed)
}

// String tells the call and the fields that differ.
func (a CallAsked) String() string {
	s := a.Trial.Name + ": " + a.Call.String() + "\n\t" + strings.Join(Differences(a.Predicted, a.Observed), "\n\t")
	if a.Failure != nil {
		s += "\n\t" + a.Failure.Error()
	}
	return s
}

// Judge is what decides about the call: the filters of its chain.
type Judge func(s *match.Stack, r match.Request, p match.Peer) match.Verdict

// Call makes calls of both sides, each worker over connections of its own, and
// gives each to seen, in the order of the calls.
func (t *Trial) Call(ctx context.Context, calls []generate.Call, seen func(CallAsked)) error {
	all := make([]CallAsked, len(calls))
	failed := make([]error, workers)
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			c := &client.Client{Address: t.address}
			defer c.Close()
			for i := w; i < len(all) && failed[w] == nil; i += workers {
				all[i] = CallAsked{Trial: t, Call: calls[i]}
				if failed[w] = t.call(ctx, c, &all[i], "call-"+strconv.Itoa(i)); failed[w] == nil && !all[i].Agree() {
					c.Close() // As in Run: what differs twice is a disagreement.
					all[i] = CallAsked{Trial: t, Call: calls[i], Again: true}
					failed[w] = t.call(ctx, c, &all[i], "again-"+strconv.Itoa(i))
				}
			}
		})
	}
	group.Wait()
	if err := errors.Join(failed...); err != nil {
		return err
	}
	for _, a := range all {
		seen(a)
	}
	return nil
}

func (t *Trial) call(ctx context.Context, c *client.Client, a *CallAsked, id string) error {
	if err := t.PredictCall(a, match.Authorize); err != nil {
		return err
	}
	request, err := t.wireCall(a.Call, id)
	if err != nil {
		return err
	}
	answer, err := c.Do(ctx, request)
	if err != nil {
		// Envoy may end a connection at once, in the handshake, or after it.
		a.Observed, a.Failure = Fate{Kind: closed}, err
		if a.Call.HTTP2 && a.Predicted.Kind == badRequest {
			a.Observed = a.Predicted // as HTTP/2 refuses
		}
		return nil
	}
	a.Observed = observeCall(answer, t.hits(ctx, id, a.Predicted), a.Predicted)
	return nil
}

// wireCall returns what goes over the wire of a call.
func (t *Trial) wireCall(c generate.Call, id string) (client.Request, error) {
	peer, err := t.peer(c)
	if err != nil {
		return client.Request{}, err
	}
	request := wire(&Target{Peer: peer}, c.Request, id)
	if c.Token == nil {
		return request, nil
	}
	text, err := t.bench.token(c.Token)
	request.Header = append(request.Header, [2]string{"authorization", "Bearer " + text})
	return request, err
}

// peer is who makes a call: at a waypoint through a tunnel, which may have TLS
// inside.
func (t *Trial) peer(c generate.Call) (peer client.Peer, err error) {
	peer = client.Peer{Source: c.Address + ":40000", Destination: c.Destination}
	if t.side != runnable.Waypoint {
		peer.TLS, err = t.config(c.Caller, protocols(c.Caller, c.HTTP2))
		return peer, err
	}
	peer.Destination, peer.Tunnel = net.JoinHostPort(t.destination, hbone), c.Destination
	if peer.TLS, err = t.config(outside(c).Caller, []string{alpnOfTunnels}); err == nil {
		peer.Inside, err = t.config(inside(c).Caller, protocols(inside(c).Caller, c.HTTP2))
	}
	return peer, err
}

// PredictCall sets what the matcher says of a call, with judge for the
// policies.
func (t *Trial) PredictCall(a *CallAsked, judge Judge) error {
	a.Predicted = Fate{Kind: closed}
	c := a.Call
	if t.side == runnable.Waypoint {
		if ok, err := t.tunnels(outside(c)); !ok {
			return err
		}
		c = inside(c)
	}
	connection, err := connectionOf(c)
	if err != nil {
		return err
	}
	connection.Internal = t.side == runnable.Waypoint
	listener := t.listener(connection)
	if listener == nil {
		return nil
	}
	chain, _ := match.Chain(listener, connection)
	if chain == nil {
		return nil
	}
	stack, err := t.open(chain)
	if err != nil {
		return err
	}
	if !accepts(stack, c.Trust) {
		return nil
	}
	peer := match.Peer{Connection: connection}
	if stack.TLS != nil || connection.Internal {
		peer.Identity = a.Call.Identity
	}
	t.predictStack(a, stack, peer, judge)
	return nil
}

// accepts tells whether a filter chain understands and believes a caller.
func accepts(stack *match.Stack, trust generate.Trust) bool {
	switch plaintext := trust == generate.Plaintext; {
	case stack.TLS != nil && plaintext, stack.TLS == nil && stack.HTTP != nil && !plaintext:
		return false
	}
	return !stack.TLS.GetRequireClientCertificate().GetValue() || trust == generate.OfMesh
}

// open decodes a filter chain, once.
func (t *Trial) open(chain *listenerv3.FilterChain) (*match.Stack, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.stacks[chain]; s != nil {
		return s, nil
	}
	s, err := match.Open(chain)
	t.stacks[chain] = s
	return s, err
}

func (t *Trial) predictStack(a *CallAsked, stack *match.Stack, peer match.Peer, judge Judge) {
	request := (&Target{Peer: client.Peer{}}).Request(a.Call.Request)
	if stack.TLS != nil {
		request.Scheme = "https"
	}
	request.Token = tokenOf(a.Call.Token)
	switch v := judge(stack, request, peer); v.Decision {
	case match.Undecided:
		a.Predicted = Fate{Kind: other, Why: v.Why}
		return
	case match.Denied:
		if !v.Refused { // which the routes tell
			a.deny(v)
			return
		}
	}
	if stack.HTTP == nil {
		t.predictBytes(a, stack)
		return
	}
	rc := stack.Routes(t.view)
	target := &Target{clusters: t.clusters}
	router := match.NewRouter(rc)
	a.Predicted = target.predict(router.Route(request, stack.Options), a.Call.Request)
}

// predictBytes names the clusters to which bytes may go.
func (t *Trial) predictBytes(a *CallAsked, stack *match.Stack) {
	for _, d := range stack.TCP {
		if d.Weight > 0 && t.view.Clusters[d.Cluster] != nil && d.Cluster != "BlackHoleCluster" {
			a.Clusters = append(a.Clusters, d.Cluster)
		}
	}
	if len(a.Clusters) > 0 {
		a.Predicted = Fate{Kind: bytes, Cluster: a.Clusters[0]}
	}
}

// deny predicts what a verdict says.
func (a *CallAsked) deny(v match.Verdict) {
	switch v.Status {
	case 0:
		a.Predicted = Fate{Kind: closed}
	default:
		a.Predicted = Fate{Why: v.Policy}
		a.Predicted.local(denied, v.Status, a.Call.Request)
	}
}

// listener returns what takes a connection on the trial's side.
func (t *Trial) listener(c match.Connection) *listenerv3.Listener {
	switch t.side {
	case runnable.Outbound:
		l, _ := match.Listener(t.view, c.Destination.Addr(), c.Destination.Port())
		return l
	case runnable.Waypoint:
		return t.named(mainInternal)
	}
	for _, l := range t.view.Inbound {
		port := l.GetAddress().GetSocketAddress().GetPortValue()
		if t.side == runnable.Inbound || port == uint32(c.Destination.Port()) {
			return l
		}
	}
	return nil
}

func connectionOf(c generate.Call) (match.Connection, error) {
	destination, err := netip.ParseAddrPort(c.Destination)
	if err != nil {
		return match.Connection{}, fmt.Errorf("destination: %w", err)
	}
	source, err := netip.ParseAddr(c.Address)
	if err != nil {
		return match.Connection{}, fmt.Errorf("source: %w", err)
	}
	out := match.Connection{Destination: destination, Source: netip.AddrPortFrom(source, 40000), ServerName: c.ServerName}
	out.TLS, out.ALPN = c.Trust != generate.Plaintext, protocols(c.Caller, c.HTTP2)
	return out, nil
}

// protocols are what a caller offers in TLS, or what Envoy finds without.
func protocols(c generate.Caller, http2 bool) []string {
	version := "http/1.1"
	switch {
	case c.Trust == generate.Plaintext && http2:
		return []string{"h2c"}
	case http2:
		version = "h2"
	}
	if c.Sidecar {
		return []string{"istio-" + version, "istio", version}
	}
	return []string{version}
}

func tokenOf(t *generate.Token) *match.Token {
	if t == nil {
		return nil
	}
	return &match.Token{Issuer: t.Issuer, Subject: t.Subject, Audiences: t.Audiences, Claims: t.Claims, Valid: !t.Expired && !t.Forged}
}

// config returns what a caller says in TLS: the same for the same caller, so
// that connections are kept.
func (t *Trial) config(c generate.Caller, protocols []string) (*tls.Config, error) {
	if c.Trust == generate.Plaintext {
		return nil, nil //nolint:nilnil // No TLS is what plaintext has.
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	k := configKey{c, strings.Join(protocols, " ")}
	k.Address = ""
	if known := t.configs[k]; known != nil {
		return known, nil
	}
	config := &tls.Config{InsecureSkipVerify: true, NextProtos: protocols, ServerName: c.ServerName}
	ca := t.bench.CA
	if c.Trust == generate.Stranger {
		ca = t.bench.Stranger
	}
	if c.Trust != generate.Anonymous {
		pair, err := ca.Workload(c.Identity)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	t.configs[k] = config
	return config, nil
}

type configKey struct {
	generate.Caller
	protocols string
}

// observeCall puts an answer into the words of Fate.
func observeCall(a *client.Answer, hits []upstream.Hit, predicted Fate) Fate {
	details := a.Header.Get(client.Probe)
	if details == "" && a.Header.Get(upstream.Name) != "" {
		return Fate{Kind: bytes, Cluster: a.Header.Get(upstream.Name)}
	}
	f := observe(a, hits, predicted)
	policy, isPolicy := strings.CutPrefix(details, "rbac_access_denied_matched_policy[")
	if !isPolicy && !strings.HasPrefix(details, "jwt_authn_access_denied") {
		return f
	}
	policy = strings.TrimSuffix(policy, "]")
	if !isPolicy || policy == "none" {
		policy = ""
	}
	return Fate{Kind: denied, Status: f.Status, GRPC: f.GRPC, Why: policy}
}
