// Package rest speaks JSON over HTTP to the API of a forge: a request comes in,
// a decoded answer or an error that says what to do goes out.
//
// The token goes to the forge's own host only, and into no error. Answers,
// retries and waits are bounded.
package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"mizzen.dev/mizzen"
)

const (
	// maxAnswer bounds the body of an answer, in bytes: a page of 100 comments of
	// 64 KiB fits.
	maxAnswer = 16 << 20
	// maxPages bounds how many pages of a list are read.
	maxPages = 50
	// attempts is how often a request is sent at most.
	attempts = 4
	// maxWait bounds one wait between attempts, whatever the forge asks for.
	maxWait = 30 * time.Second
	// timeout bounds one attempt.
	timeout = 30 * time.Second
	// maxRedirects bounds redirects of one request.
	maxRedirects = 3
)

// Client sends requests to one forge.
type Client struct {
	// Base is the root of the API, such as https://api.github.com.
	Base string
	// Header is added to every request; it holds the token.
	Header http.Header
	// Explain says what to do about an answer of 401, 403 or 404.
	Explain func(answer *http.Response, r *Request) string
	// Transport is used instead of http.DefaultTransport, if it is set.
	Transport http.RoundTripper
	// Wait waits between attempts, until ctx is done; nil waits by the clock.
	Wait func(ctx context.Context, d time.Duration) error
}

// Request is one request.
type Request struct {
	Method string
	// Path is below Base, escaped, with its query.
	Path string
	// Body is sent as JSON, if it is not nil.
	Body any
	// Repeatable requests may be sent again although the first may have been
	// carried out. GET, PUT and PATCH are anyway.
	Repeatable bool
	// What is done, for an error: "comment on pull request 7".
	What string
	// Needs is the permission that the token must have, for Explain.
	Needs string
}

// State is what a Status says.
type State string

// The states of a Status.
const (
	Pending State = "pending"
	Success State = "success"
	// Failure: the answer is no.
	Failure State = "failure"
	// Error: there is no answer.
	Error State = "error"
)

// Status is what a forge shows beside a commit.
type Status struct {
	State State
	// Context tells statuses of one commit apart: "mizzen/plan".
	Context string
	// Description is one line; what is longer than a forge takes is cut.
	Description string
	// URL is where there is more; it may be empty.
	URL string
}

// Fields is a status as a forge takes it, with the context in a field of this
// name, and a description of at most so many characters.
func (s Status) Fields(context string, maxDescription int) map[string]string {
	fields := map[string]string{
		"state": string(s.State), context: s.Context, "description": Cut(s.Description, maxDescription),
	}
	if s.URL != "" {
		fields["target_url"] = s.URL
	}
	return fields
}

// Content is a comment as a forge takes it.
type Content struct {
	Body string `json:"body"`
}

// Cut returns the first characters of a text.
func Cut(text string, most int) string {
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}

func (r *Request) repeatable() bool { return r.Repeatable || r.Method != http.MethodPost }

// Do sends a request and decodes the answer into out, if it is not nil. It fails
// with Kind Forbidden, NotFound, Invalid, Unreachable, TooLarge or Timeout.
func (c *Client) Do(ctx context.Context, r *Request, out any) error {
	_, err := c.do(ctx, r, out)
	return err
}

// First reads a list page by page, and returns the first element that is wanted;
// the zero T if there is none.
func First[T any](ctx context.Context, c *Client, r *Request, wanted func(T) bool) (T, error) {
	var none T
	next := *r
	for range maxPages {
		var page []T
		header, err := c.do(ctx, &next, &page)
		if err != nil {
			return none, err
		}
		if i := slices.IndexFunc(page, wanted); i >= 0 {
			return page[i], nil
		}
		path, ok := c.nextPage(header)
		if !ok {
			return none, nil
		}
		next.Path = path
	}
	return none, &mizzen.Error{
		Kind: mizzen.TooLarge, Object: r.What, Err: fmt.Errorf("there are more than %d pages", maxPages),
		Remedy: "delete what is not needed there",
	}
}

// nextPage returns the path of the Link header's next page (RFC 8288). A link
// that leaves the API is no next page.
func (c *Client) nextPage(header http.Header) (path string, ok bool) {
	for link := range strings.SplitSeq(header.Get("Link"), ",") {
		target, parameters, _ := strings.Cut(link, ";")
		if !strings.Contains(parameters, `rel="next"`) {
			continue
		}
		target = strings.Trim(strings.TrimSpace(target), "<>")
		return strings.CutPrefix(target, strings.TrimSuffix(c.Base, "/"))
	}
	return "", false
}

func (c *Client) do(ctx context.Context, r *Request, out any) (http.Header, error) {
	wait := c.Wait
	if wait == nil {
		wait = sleep
	}
	for attempt := 1; ; attempt++ {
		a, err := c.once(ctx, r)
		if err == nil {
			if out != nil {
				err = json.Unmarshal(a.body, out)
			}
			if err != nil {
				return nil, c.fail(r, mizzen.Unreachable, fmt.Errorf("the answer is not what the API documents: %w", err), "check that "+c.host()+" is the API of the forge")
			}
			return a.header, nil
		}
		if attempt == attempts || !a.retry(r) {
			return nil, err
		}
		if err := wait(ctx, a.delay(attempt)); err != nil {
			return nil, err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// once sends a request once.
func (c *Client) once(ctx context.Context, r *Request) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := c.request(ctx, r)
	if err != nil {
		return answer{final: true}, c.fail(r, mizzen.Invalid, err, "correct the address of the API")
	}
	client := &http.Client{Transport: c.Transport, CheckRedirect: sameHost}
	response, err := client.Do(request)
	if err != nil {
		final := errors.Is(err, errRedirect) || ctx.Err() != nil
		return answer{final: final}, c.fail(r, kindOf(ctx), err, "check that "+c.host()+" can be reached from here")
	}
	defer response.Body.Close()
	a := answer{status: response.StatusCode, header: response.Header}
	if a.body, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer+1)); err != nil {
		return a, c.fail(r, kindOf(ctx), fmt.Errorf("read the answer: %w", err), "try again")
	}
	if len(a.body) > maxAnswer {
		a.final = true
		return a, c.fail(r, mizzen.TooLarge, fmt.Errorf("the answer has more than %d MiB", maxAnswer>>20), "check that "+c.host()+" is the API of the forge")
	}
	if a.status/100 == 2 {
		return a, nil
	}
	return a, c.refused(r, response, a.body)
}

func (c *Client) request(ctx context.Context, r *Request) (*http.Request, error) {
	var body io.Reader = http.NoBody
	if r.Body != nil {
		b, err := json.Marshal(r.Body)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	request, err := http.NewRequestWithContext(ctx, r.Method, strings.TrimSuffix(c.Base, "/")+r.Path, body)
	if err != nil {
		return nil, err
	}
	for name, values := range c.Header {
		request.Header[name] = values
	}
	request.Header.Set("User-Agent", "mizzen")
	if request.Header.Get("Accept") == "" {
		request.Header.Set("Accept", "application/json")
	}
	if r.Body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	return request, nil
}

var errRedirect = errors.New("the forge redirects to another place")

// sameHost follows a redirect only to the same scheme and host, since the token
// goes along, and only with the same method, since a POST that became a GET
// would seem to succeed.
func sameHost(next *http.Request, via []*http.Request) error {
	first := via[0]
	if len(via) > maxRedirects || next.URL.Scheme != first.URL.Scheme || next.URL.Host != first.URL.Host || next.Method != first.Method {
		return fmt.Errorf("%w: %s", errRedirect, next.URL.Host)
	}
	return nil
}

func (c *Client) host() string {
	u, err := url.Parse(c.Base)
	if err != nil || u.Host == "" {
		return "the address of the API"
	}
	return u.Host
}

func kindOf(ctx context.Context) mizzen.Kind {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return mizzen.Timeout
	}
	return mizzen.Unreachable
}

func (c *Client) fail(r *Request, kind mizzen.Kind, err error, remedy string) error {
	return &mizzen.Error{Kind: kind, Object: r.What, Err: err, Remedy: remedy}
}
