package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"

	"mizzen.dev/mizzen/lab/internal/shop"
	"mizzen.dev/mizzen/lab/internal/shop/settings"
)

// caller makes the calls of a server.
type caller struct {
	settings settings.Settings
	http     *http.Client
	// grpc has a connection for each grpc:// URL of the settings.
	grpc map[string]*grpc.ClientConn
}

func newCaller(s settings.Settings) (*caller, error) {
	const idle = 256 // connections kept for each host
	c := &caller{settings: s, grpc: map[string]*grpc.ClientConn{}}
	c.http = newClient(&http.Transport{MaxIdleConnsPerHost: idle, IdleConnTimeout: time.Minute})
	for _, u := range s.Calls {
		if u.Scheme != "grpc" {
			continue
		}
		conn, err := dial(u)
		if err != nil {
			c.close()
			return nil, err
		}
		c.grpc[u.String()] = conn
	}
	return c, nil
}

// newClient returns one that goes where the URL says: through no proxy of the
// environment, and to no place that the answer names.
func newClient(t *http.Transport) *http.Client {
	t.MaxResponseHeaderBytes = maxHeader
	return &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func (c *caller) close() {
	c.http.CloseIdleConnections()
	for _, conn := range c.grpc {
		_ = conn.Close() // nobody waits for an answer any more
	}
}

// all calls every URL of the settings, also after one that failed: the tree
// then tells of all.
func (c *caller) all(ctx context.Context, header http.Header) map[string]*shop.Reply {
	if len(c.settings.Calls) == 0 {
		return nil
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	replies := map[string]*shop.Reply{}
	for _, u := range c.settings.Calls {
		call := func() {
			r := c.call(ctx, u, header)
			mu.Lock()
			defer mu.Unlock()
			replies[u.String()] = r
		}
		if c.settings.Parallel {
			wg.Go(call)
		} else {
			call()
		}
	}
	wg.Wait()
	return replies
}

func (c *caller) call(ctx context.Context, u *url.URL, header http.Header) *shop.Reply {
	ctx, cancel := context.WithTimeout(ctx, c.settings.Timeout)
	defer cancel()
	if conn := c.grpc[u.String()]; conn != nil {
		return callGRPC(ctx, conn, u, header)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return noAnswer(err)
	}
	req.Header = header.Clone()
	res, err := c.http.Do(req)
	if err != nil {
		return noAnswer(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, shop.MaxBody))
	if err != nil {
		return noAnswer(err)
	}
	return parse(res.StatusCode, body)
}

// parse returns the Reply in an answer, or one that has the answer's text as
// its error, as a proxy sends it.
func parse(status int, body []byte) *shop.Reply {
	reply := &shop.Reply{}
	if json.Unmarshal(body, reply) != nil {
		reply = &shop.Reply{Error: cut(strings.TrimSpace(string(body)))}
	}
	reply.Status = status
	return reply
}

func noAnswer(err error) *shop.Reply {
	class := shop.Class(err)
	// The URL is the key already.
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return &shop.Reply{Status: shop.StatusNoAnswer, Error: cut(fmt.Sprintf("%s: %v", class, err))}
}

// cut keeps an error short: it is repeated by every server on the way back.
func cut(s string) string {
	const most = 300
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.ToValidUTF8(s, "?")
}
