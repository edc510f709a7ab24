package trial

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"mizzen.dev/mizzen/internal/traffic"
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

// Bench is where trials are run: one Envoy binary and one authority.
type Bench struct {
	Binary string
	CA     *certs.CA
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
	client    *client.Client
	asked     int
}

// Start runs one side of a proxy, with its files in dir. It fails if Envoy
// refuses any of its resources. The caller calls Close.
func (b *Bench) Start(ctx context.Context, proxy *traffic.Proxy, side runnable.Side, dir string) (*Trial, error) {
	certificate, err := b.CA.Server("upstream")
	if err != nil {
		return nil, err
	}
	t := &Trial{Name: string(side) + " of " + proxy.Name, view: runnable.Named(proxy.View), upstreams: upstream.New(certificate)}
	if err := t.start(ctx, b, proxy, side, dir); err != nil {
		t.Close()
		return nil, fmt.Errorf("%s: %w", t.Name, err)
	}
	return t, nil
}

func (t *Trial) start(ctx context.Context, b *Bench, proxy *traffic.Proxy, side runnable.Side, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	identity := ""
	if proxy.Workload != nil {
		identity = proxy.Workload.Identity
	}
	config, err := runnable.New(t.view, side, t.upstreams, b.CA, identity)
	if err != nil {
		return err
	}
	if t.Targets, err = targets(t.view, side); err != nil {
		return err
	}
	if t.server, err = ads.Serve(config.Snapshot); err != nil {
		return err
	}
	if t.envoy, err = envoy.Start(ctx, b.Binary, dir, t.server); err != nil {
		return err
	}
	address, err := t.envoy.Ready(ctx, config.Root)
	if err != nil {
		return err
	}
	t.client = &client.Client{Address: address}
	return nil
}

// Close ends all that the trial started.
func (t *Trial) Close() {
	if t.client != nil {
		t.client.Close()
	}
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
}

// Agree tells whether both sides say the same.
func (a Asked) Agree() bool { return reflect.DeepEqual(a.Predicted, a.Observed) }

// Disagreement returns the request with both fates.
func (a Asked) Disagreement() Disagreement {
	return Disagreement{Where: a.Target.Name, Request: a.Request, Predicted: a.Predicted, Observed: a.Observed}
}

// Run asks n requests, spread over the targets by their routes, and gives each
// to seen.
func (t *Trial) Run(ctx context.Context, rnd *rand.Rand, n int, seen func(Asked)) error {
	sources := make([]*generate.Source, len(t.Targets))
	total := 0
	for i, target := range t.Targets {
		sources[i] = generate.NewSource(target.Config, target.port, rnd)
		total += sources[i].Routes()
	}
	for i, target := range t.Targets {
		for range (n*sources[i].Routes() + total - 1) / max(total, 1) {
			asked, err := t.Ask(ctx, target, sources[i].Next())
			if err != nil {
				return fmt.Errorf("%s: %s: %w", target.Name, asked.Request, err)
			}
			seen(asked)
		}
	}
	return nil
}

// Ask asks one request of both sides.
func (t *Trial) Ask(ctx context.Context, target *Target, r generate.Request) (Asked, error) {
	asked := Asked{Target: target, Request: r}
	asked.Predicted = target.predict(Matcher(target, r), r)
	t.asked++
	id := strconv.Itoa(t.asked)
	answer, err := t.client.Do(ctx, wire(target, r, id))
	if errors.Is(err, client.ErrReset) && r.HTTP2 {
		// The codec of HTTP/2 ends the connection where that of HTTP/1.1
		// answers 400.
		asked.Observed = Fate{Kind: badRequest, Status: http.StatusBadRequest}
		return asked, nil
	}
	if err != nil {
		return asked, err
	}
	hits := t.hits(ctx, id, asked.Predicted)
	asked.Observed = observe(answer, hits, asked.Predicted)
	return asked, nil
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
