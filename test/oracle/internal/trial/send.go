package trial

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"mizzen.dev/mizzen/test/oracle/internal/client"
	"mizzen.dev/mizzen/test/oracle/internal/generate"
	"mizzen.dev/mizzen/test/oracle/internal/upstream"
)

// Seen is what Envoy did with a call, without a prediction.
type Seen struct {
	// Closed tells that the connection ended without an answer; all else but
	// Hits is empty then.
	Closed bool
	Status int
	Header http.Header
	// Hits are what the stand-ins got of it, tries and copies included.
	Hits []upstream.Hit
}

// Send makes calls, so many at once, and returns what is seen of each, in their
// order. Copies are waited for until nothing has come for as long as settle. It
// is for one goroutine.
func (t *Trial) Send(ctx context.Context, calls []generate.Call, atOnce int, settle time.Duration) ([]Seen, error) {
	out := make([]Seen, len(calls))
	failed := make([]error, atOnce)
	t.sent++
	var group sync.WaitGroup
	for w := range atOnce {
		group.Go(func() {
			c := &client.Client{Address: t.address}
			defer c.Close()
			for i := w; i < len(calls) && failed[w] == nil; i += atOnce {
				out[i], failed[w] = t.send(ctx, c, calls[i], t.sendID(i))
			}
		})
	}
	group.Wait()
	if err := errors.Join(failed...); err != nil {
		return nil, fmt.Errorf("%s: %w", t.Name, err)
	}
	t.upstreams.Settle(settle)
	for i := range out {
		out[i].Hits = t.upstreams.Take(t.sendID(i))
	}
	return out, nil
}

func (t *Trial) sendID(i int) string { return "send-" + strconv.Itoa(t.sent) + "-" + strconv.Itoa(i) }

func (t *Trial) send(ctx context.Context, c *client.Client, call generate.Call, id string) (Seen, error) {
	request, err := t.wireCall(call, id)
	if err != nil {
		return Seen{}, err
	}
	answer, err := c.Do(ctx, request)
	if ctx.Err() != nil {
		return Seen{}, ctx.Err()
	}
	if err != nil {
		return Seen{Closed: true}, nil //nolint:nilerr // That it ends is what is seen.
	}
	return Seen{Status: answer.Status, Header: answer.Header}, nil
}
