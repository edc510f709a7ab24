package trial

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"mizzen.dev/mizzen/internal/traffic"
	"mizzen.dev/mizzen/internal/traffic/match"
	"mizzen.dev/mizzen/test/oracle/internal/ads"
	"mizzen.dev/mizzen/test/oracle/internal/certs"
	"mizzen.dev/mizzen/test/oracle/internal/client"
	"mizzen.dev/mizzen/test/oracle/internal/envoy"
	"mizzen.dev/mizzen/test/oracle/internal/generate"
	"mizzen.dev/mizzen/test/oracle/internal/runnable"
	"mizzen.dev/mizzen/test/oracle/internal/upstream"
)

// startTime is how long an Envoy may take to start on a machine that has other
// things to do.
const startTime = 60 * time.Second

// copyTime is how long a copy of a request may come after its answer.
const copyTime = 5 * time.Second

// Bench is where trials are run: one Envoy binary, the authority of the mesh and
// another one, and two signers of tokens, of which nobody trusts the Forger.
type Bench struct {
	Binary         string
	CA, Stranger   *certs.CA
	Signer, Forger *certs.Signer

	mu     sync.Mutex
	tokens map[string]string
}

// NewBench returns a bench with authorities and signers of its own.
func NewBench(binary string) (*Bench, error) {
	b := &Bench{Binary: binary, tokens: map[string]string{}}
	var errs [4]error
	b.CA, errs[0] = certs.New("mesh")
	b.Stranger, errs[1] = certs.New("stranger")
	b.Signer, errs[2] = certs.NewSigner()
	b.Forger, errs[3] = certs.NewSigner()
	return b, errors.Join(errs[:]...)
}

// token returns the signed text of a token, the same for the same one.
func (b *Bench) token(t *generate.Token) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := fmt.Sprintf("%+v", *t)
	if text := b.tokens[key]; text != "" {
		return text, nil
	}
	claims := map[string]any{"iss": t.Issuer, "sub": t.Subject}
	maps.Copy(claims, t.Claims)
	if t.Audiences != nil {
		claims["aud"] = t.Audiences
	}
	signer := b.Signer
	if t.Forged {
		signer = b.Forger
	}
	text, err := signer.Token(claims, t.Expired)
	b.tokens[key] = text
	return text, err
}

// Trial is one side of a proxy in an Envoy of its own.
type Trial struct {
	// Name is the proxy's, with the side.
	Name string
	// Targets are the places where it takes HTTP.
	Targets []*Target

	view      *traffic.View
	upstreams *upstream.Upstreams
	server    *ads.Server
	envoy     *envoy.Envoy
	address   string

	bench *Bench
	side  runnable.Side
	// destination is the workload's own address.
	destination string
	clusters    map[string]bool
	// sent is how often Send was called.
	sent int

	mu      sync.Mutex
	configs map[configKey]*tls.Config
	stacks  map[*listenerv3.FilterChain]*match.Stack
}

// Start runs one side of a proxy, with its files in dir. It fails if Envoy
// refuses any of its resources. The caller calls Close.
func (b *Bench) Start(ctx context.Context, proxy *traffic.Proxy, side runnable.Side, dir string) (*Trial, error) {
	return b.StartBehind(ctx, proxy, side, dir, runnable.One)
}

// StartBehind is Start with stand-ins of another choice: they may be one for
// each workload, so that it is seen which one answers.
func (b *Bench) StartBehind(ctx context.Context, proxy *traffic.Proxy, side runnable.Side, dir string, behind runnable.Behind) (*Trial, error) {
	certificate, err := b.CA.Server("upstream")
	if err != nil {
		return nil, err
	}
	t := &Trial{
		Name: string(side) + " of " + proxy.Name, view: runnable.Named(proxy.View()), upstreams: upstream.New(certificate),
		bench: b, side: side, clusters: map[string]bool{}, configs: map[configKey]*tls.Config{}, stacks: map[*listenerv3.FilterChain]*match.Stack{},
	}
	for name := range t.view.Clusters {
		t.clusters[name] = true
	}
	if proxy.Workload != nil {
		t.destination = proxy.Workload.Address
	}
	if err := t.start(ctx, b, proxy, side, dir, behind); err != nil {
		t.Close()
		return nil, fmt.Errorf("%s: %w", t.Name, err)
	}
	return t, nil
}

func (t *Trial) start(ctx context.Context, b *Bench, proxy *traffic.Proxy, side runnable.Side, dir string, behind runnable.Behind) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	identity := ""
	if proxy.Workload != nil {
		identity = proxy.Workload.Identity
	}
	config, err := runnable.New(t.view, side, t.upstreams, behind, b.CA, identity)
	if err != nil {
		return err
	}
	if t.Targets, err = t.targets(); err != nil {
		return err
	}
	if t.server, err = ads.Serve(config.Snapshot); err != nil {
		return err
	}
	if t.envoy, err = envoy.Start(ctx, b.Binary, dir, t.server); err != nil {
		return err
	}
	t.address, err = t.envoy.Ready(ctx, config.Root)
	return err
}

// Close ends all that the trial started.
func (t *Trial) Close() {
	if t.envoy != nil {
		t.envoy.Stop()
	}
	if t.server != nil {
		t.server.Close()
	}
	t.upstreams.Close()
}

// Asked is one request with what both sides say.
type Asked struct {
	Target    *Target
	Request   generate.Request
	Predicted Fate
	Observed  Fate
	// Again tells whether it was asked twice, since the first answer differed.
	Again bool
}

// Agree tells whether both sides say the same.
func (a Asked) Agree() bool { return reflect.DeepEqual(a.Predicted, a.Observed) }

// String tells the request and the fields that differ.
func (a Asked) String() string {
	return a.Target.Name + ": " + a.Request.String() + "\n\t" + strings.Join(Differences(a.Predicted, a.Observed), "\n\t")
}

// workers is how many connections ask at once: enough to keep Envoy busy.
const workers = 4

// Run asks n requests, spread over the targets by their routes, and gives each
// to seen, in the same order every time.
func (t *Trial) Run(ctx context.Context, rnd *rand.Rand, n int, seen func(Asked)) error {
	all := t.requests(rnd, n)
	failed := make([]error, workers)
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			c := &client.Client{Address: t.address}
			defer c.Close()
			for i := w; i < len(all) && failed[w] == nil; i += workers {
				if failed[w] = t.ask(ctx, c, &all[i], strconv.Itoa(i)); failed[w] == nil && !all[i].Agree() {
					// On a busy machine a timer of Envoy's may end what
					// would go on: what differs twice is a disagreement.
					c.Close()
					all[i].Again = true
					failed[w] = t.ask(ctx, c, &all[i], strconv.Itoa(i)+"-again")
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
	if left := t.upstreams.Left(); left > 0 {
		return fmt.Errorf("%s: %d requests reached upstreams that nobody predicted", t.Name, left)
	}
	return nil
}

func (t *Trial) requests(rnd *rand.Rand, n int) []Asked {
	sources := make([]*generate.Source, len(t.Targets))
	total := 0
	for i, target := range t.Targets {
		sources[i] = generate.NewSource(target.Config, target.port, rnd)
		total += sources[i].Routes()
	}
	var all []Asked
	for i, target := range t.Targets {
		share := (n*sources[i].Routes() + total - 1) / max(total, 1)
		known := witnesses(target, rnd, share/5)
		for _, r := range known {
			all = append(all, Asked{Target: target, Request: r})
		}
		for range share - len(known) {
			all = append(all, Asked{Target: target, Request: sources[i].Next()})
		}
	}
	return all
}

// Copies sends a call n times and returns how many copies of it other clusters
// than its own got.
func (t *Trial) Copies(ctx context.Context, call generate.Call, n int) (int, error) {
	c := &client.Client{Address: t.address}
	defer c.Close()
	target := &Target{Peer: client.Peer{Source: source, Destination: call.Destination}}
	hits := 0
	for i := range n {
		if _, err := c.Do(ctx, wire(target, call.Request, "copy-"+strconv.Itoa(i))); err != nil {
			return 0, fmt.Errorf("%s: %w", t.Name, err)
		}
	}
	for i := range n {
		hits += len(t.upstreams.Take("copy-" + strconv.Itoa(i)))
	}
	return hits - n, nil
}

// ask asks one request of both sides.
func (t *Trial) ask(ctx context.Context, c *client.Client, a *Asked, id string) error {
	a.Predicted = Predict(a.Target, a.Request, Matcher)
	answer, err := c.Do(ctx, wire(a.Target, a.Request, id))
	if errors.Is(err, client.ErrReset) && a.Request.HTTP2 {
		// The codec of HTTP/2 ends the connection where that of HTTP/1.1
		// answers 400.
		a.Observed = Fate{Kind: badRequest, Status: http.StatusBadRequest}
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %s: %w", a.Target.Name, a.Request, err)
	}
	a.Observed = observe(answer, t.hits(ctx, id, a.Predicted), a.Predicted)
	return nil
}

// Predict returns the fate that decide sees.
func Predict(target *Target, r generate.Request, decide Decide) Fate {
	return target.predict(decide(target, r), r)
}

// wire adds to a request what only Envoy and the stand-ins look at.
func wire(target *Target, r generate.Request, id string) client.Request {
	out := client.Request{Peer: target.Peer, Method: r.Method, Path: r.Path, Host: r.Host, HTTP2: r.HTTP2}
	out.Header = append(out.Header, r.Header...)
	out.Header = append(out.Header, [2]string{upstream.ID, id}, [2]string{runnable.Bucket, strconv.FormatUint(uint64(r.Bucket), 10)})
	if r.Fail != 0 {
		out.Header = append(out.Header, [2]string{upstream.Fail, strconv.Itoa(r.Fail)})
	}
	for _, h := range r.Answer {
		out.Header = append(out.Header, [2]string{upstream.Answer, h[0] + ": " + h[1]})
	}
	return out
}

// hits returns what the upstreams saw of a request, once the copies that are
// predicted have come.
func (t *Trial) hits(ctx context.Context, id string, predicted Fate) []upstream.Hit {
	want := predicted.Attempts
	if predicted.Mirrors != "" {
		want += countWords(predicted.Mirrors)
		ctx, cancel := context.WithTimeout(ctx, copyTime)
		defer cancel()
		for {
			next, n := t.upstreams.Arrived(id)
			if n >= want {
				break
			}
			select {
			case <-next:
				continue
			case <-ctx.Done():
			}
			break
		}
	}
	return t.upstreams.Take(id)
}

func countWords(s string) int {
	n := 1
	for _, c := range s {
		if c == ' ' {
			n++
		}
	}
	return n
}
