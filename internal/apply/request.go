package apply

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"mizzen.dev/mizzen"
)

const (
	// requestTimeout bounds one attempt, admission webhooks included.
	requestTimeout = 60 * time.Second
	// attempts of one request; the pauses between them double.
	attempts   = 6
	firstPause = 100 * time.Millisecond
	maxPause   = 30 * time.Second
	// maxAnswer bounds what is read of an answer; etcd holds 1.5 MiB at most.
	maxAnswer = 16 << 20

	wholeObject = "application/json"
	// applyType is that of server-side apply; JSON is YAML.
	applyType    = string(types.ApplyPatchType)
	metadataOnly = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
)

// request is one call of the API. Sent twice, it does what it does once.
type request struct {
	ref         mizzen.Ref
	method      string
	path        string
	query       url.Values
	contentType string
	accept      string
	body        []byte
}

// resource is where the objects of a kind are served.
type resource struct {
	gvr        schema.GroupVersionResource
	namespaced bool
}

func (a *Applier) resourceFor(ctx context.Context, gvk schema.GroupVersionKind) (resource, error) {
	gvr, namespaced, err := a.mapper(ctx, gvk)
	return resource{gvr, namespaced}, err
}

// path returns the URL path of an object, or of the collection without a name.
func (r resource) path(namespace, name string) string {
	parts := []string{"", "apis", r.gvr.Group, r.gvr.Version}
	if r.gvr.Group == "" {
		parts = []string{"", "api", r.gvr.Version}
	}
	if r.namespaced {
		parts = append(parts, "namespaces", url.PathEscape(namespace))
	}
	parts = append(parts, r.gvr.Resource)
	if name != "" {
		parts = append(parts, url.PathEscape(name))
	}
	return strings.Join(parts, "/")
}

// answer is what the API server said to a request that succeeded.
type answer struct {
	status int
	body   []byte
}

// do sends a request until it is answered for good: conflicts of concurrent
// writes, overload and failures on the way are worth another attempt. The
// error is the API server's own (apierrors.APIStatus) or the network's.
func (a *Applier) do(ctx context.Context, r request) (answer, error) {
	pause := firstPause
	for attempt := 1; ; attempt++ {
		got, wait, err := a.once(ctx, r)
		if err == nil {
			return got, nil
		}
		if attempt == attempts || ctx.Err() != nil || !retriable(r.method, err) {
			return answer{}, err
		}
		wait = min(max(wait, pause+jitter(r, attempt, pause)), maxPause)
		pause *= 2
		a.log.DebugContext(ctx, "retry", "object", r.ref.String(), "attempt", attempt, "pause", wait, "error", redact(err))
		if !a.pause(ctx, wait) {
			return answer{}, err
		}
	}
}

// redact keeps messages out of logs, since they may repeat values of Secrets.
func redact(err error) string {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return fmt.Sprintf("%d %s", status.Status().Code, status.Status().Reason)
	}
	return err.Error()
}

// jitter spreads retries of different objects, the same way every time.
func jitter(r request, attempt int, limit time.Duration) time.Duration {
	h := fnv.New64a()
	fmt.Fprint(h, r.method, r.path, attempt)
	return time.Duration(h.Sum64() % uint64(limit))
}

// pause waits; it returns false if ctx ended first.
func (a *Applier) pause(ctx context.Context, d time.Duration) bool {
	timer := a.clock.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C():
		return true
	case <-ctx.Done():
		return false
	}
}

func (a *Applier) once(ctx context.Context, r request) (got answer, wait time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	target := a.base.String() + r.path
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.method, target, bytes.NewReader(r.body))
	if err != nil {
		return got, 0, err
	}
	req.Header.Set("Accept", r.accept)
	if r.contentType != "" {
		req.Header.Set("Content-Type", r.contentType)
	}
	resp, err := a.http.Do(req)
	if err != nil {
		return got, 0, err
	}
	defer resp.Body.Close()
	body, err := readAll(resp)
	if err != nil {
		return got, 0, fmt.Errorf("read the answer: %w", err)
	}
	if resp.StatusCode < 300 {
		return answer{resp.StatusCode, body}, 0, nil
	}
	seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
	return got, time.Duration(max(seconds, 0)) * time.Second, statusError(resp, body)
}

func readAll(resp *http.Response) ([]byte, error) {
	var b bytes.Buffer
	if resp.ContentLength > 0 && resp.ContentLength < maxAnswer {
		b.Grow(int(resp.ContentLength) + bytes.MinRead)
	}
	_, err := b.ReadFrom(io.LimitReader(resp.Body, maxAnswer))
	return b.Bytes(), err
}

// statusError reads the API server's Status, or makes one where a proxy in
// between answered.
func statusError(resp *http.Response, body []byte) error {
	e := &apierrors.StatusError{}
	if json.Unmarshal(body, &e.ErrStatus) != nil || e.ErrStatus.Kind != "Status" {
		const limit = 200
		text := strings.ToValidUTF8(string(body[:min(len(body), limit)]), "")
		e = apierrors.NewGenericServerResponse(resp.StatusCode, resp.Request.Method, schema.GroupResource{}, "", text, 0, true)
	}
	if e.ErrStatus.Code == 0 {
		e.ErrStatus.Code = int32(resp.StatusCode) //nolint:gosec // an HTTP status has three digits
	}
	return e
}

// retriable tells whether the same request may succeed later.
func retriable(method string, err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return !errors.Is(err, context.Canceled)
	}
	s := status.Status()
	switch s.Code {
	case http.StatusConflict:
		return s.Reason == metav1.StatusReasonAlreadyExists && method == http.MethodPatch ||
			s.Reason == metav1.StatusReasonConflict && !hasCause(s, metav1.CauseTypeFieldManagerConflict) && !uidMismatch(s)
	case http.StatusTooManyRequests:
		return true
	case http.StatusInternalServerError:
		return !malformed(s)
	case http.StatusForbidden:
		// A pod in a new namespace comes before the namespace's account.
		return strings.Contains(s.Message, "error looking up service account")
	}
	return s.Code > http.StatusInternalServerError
}

// malformed tells whether an answer 500 is about the object: server-side apply
// reports what does not fit the schema that way.
func malformed(s metav1.Status) bool {
	return slices.ContainsFunc([]string{
		"failed to create typed patch object", "failed to convert new object", "error decoding", "failed to create manager for",
		"etcdserver: request is too large",
	}, func(part string) bool { return strings.Contains(s.Message, part) })
}

func hasCause(s metav1.Status, cause metav1.CauseType) bool {
	return s.Details != nil && slices.ContainsFunc(s.Details.Causes, func(c metav1.StatusCause) bool { return c.Type == cause })
}

// uidMismatch tells whether the object is another one than the expected.
func uidMismatch(s metav1.Status) bool {
	if s.Details != nil && slices.ContainsFunc(s.Details.Causes, func(c metav1.StatusCause) bool { return c.Field == "metadata.uid" }) {
		return true
	}
	return s.Code == http.StatusConflict && (strings.Contains(s.Message, "uid mismatch") || strings.Contains(s.Message, "UID in the precondition") || strings.Contains(s.Message, "UID in precondition"))
}
