package labtest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
)

// Audit is a mark in the log of an API server: what was asked since then.
type Audit struct {
	cluster *Cluster
	client  kubernetes.Interface
	offset  int64
	since   time.Time
}

// Request is one request as the API server logged it.
type Request struct {
	// User is who was authenticated; As whom the request impersonates, or "".
	User, As string
	// UserAgent is the client's.
	UserAgent string
	// Verb is get, list, watch, create, update, patch, delete,
	// deletecollection, or a lower-case HTTP method for a path that is no
	// resource.
	Verb string
	// Resource is as in RBAC: plural, with "/subresource" if there is one.
	Resource string
	// Group, Namespace and Name are those of the object.
	Group, Namespace, Name string
	// URI is path and query.
	URI string
	// Code is the HTTP status, or 0 for a watch that still goes on.
	Code int
}

// By selects requests: an empty field admits everything. User matches the
// impersonated user too.
type By struct {
	User, Verb, Resource, Namespace, Name string
	// UserAgent is how the client's begins.
	UserAgent string
}

func (b By) admits(r Request) bool {
	is := func(want, got string) bool { return want == "" || want == got }
	return (is(b.User, r.User) || is(b.User, r.As)) && is(b.Verb, r.Verb) && is(b.Resource, r.Resource) &&
		is(b.Namespace, r.Namespace) && is(b.Name, r.Name) && strings.HasPrefix(r.UserAgent, b.UserAgent)
}

// Audit puts a mark at this moment.
func (c *Cluster) Audit(t testing.TB) *Audit {
	t.Helper()
	client, err := kubernetes.NewForConfig(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(c.AuditLog)
	if err != nil {
		t.Fatal(err)
	}
	a := &Audit{cluster: c, client: client, offset: info.Size()}
	data, event := a.readToEnd(t)
	a.offset += int64(len(data))
	a.since = event.RequestReceivedTimestamp
	return a
}

// Requests returns what has been asked since the mark, without the requests
// that Audit itself makes, in the order in which they were answered. Watches
// that began before the mark are left out.
func (a *Audit) Requests(t testing.TB) []Request {
	t.Helper()
	data, _ := a.readToEnd(t)
	var requests []Request
	seen := map[string]int{}
	for line := range bytes.Lines(data) {
		e := parse(t, line)
		if e.RequestReceivedTimestamp.Before(a.since) || strings.Contains(e.RequestURI, marker) {
			continue
		}
		// A watch is logged when it begins and when it ends.
		if i, again := seen[e.AuditID]; again {
			requests[i] = e.request()
			continue
		}
		seen[e.AuditID] = len(requests)
		requests = append(requests, e.request())
	}
	return requests
}

// Count counts the requests since the mark that by selects.
func (a *Audit) Count(t testing.TB, by By) int {
	t.Helper()
	n := 0
	for _, r := range a.Requests(t) {
		if by.admits(r) {
			n++
		}
	}
	return n
}

// Writes returns the requests since the mark of clients whose User-Agent begins
// with userAgent that change an object, or would.
func (a *Audit) Writes(t testing.TB, userAgent string) []Request {
	t.Helper()
	return slices.DeleteFunc(a.Requests(t), func(r Request) bool {
		writes := slices.Contains([]string{"create", "update", "patch", "delete", "deletecollection"}, r.Verb)
		return !writes || !strings.HasPrefix(r.UserAgent, userAgent)
	})
}

// marker is in the URI of a request whose only purpose is to be logged.
const marker = "labtest-mark="

// readToEnd asks for something unique and reads the log from the mark until
// that appears: all requests that were answered before are logged by then. It
// returns the lines, and the event of its own request which is the last.
func (a *Audit) readToEnd(t testing.TB) ([]byte, auditEvent) {
	t.Helper()
	mark := rand.Text()
	err := a.client.Discovery().RESTClient().Get().AbsPath("/version").
		Param(strings.TrimSuffix(marker, "="), mark).Do(t.Context()).Error()
	if err != nil {
		t.Fatalf("mark the audit log of %s: %v", a.cluster.Name, err)
	}
	var data, last []byte
	Eventually(t, "the mark in the audit log", func(context.Context) bool {
		data = a.read(t)
		at := bytes.Index(data, []byte(marker+mark))
		if at < 0 {
			return false
		}
		end := bytes.IndexByte(data[at:], '\n')
		if end < 0 {
			return false
		}
		data = data[:at+end+1]
		last = data[bytes.LastIndexByte(data[:len(data)-1], '\n')+1:]
		return true
	})
	return data, parse(t, last)
}

func (a *Audit) read(t testing.TB) []byte {
	t.Helper()
	f, err := os.Open(a.cluster.AuditLog)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Seek(a.offset, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(bufio.NewReader(f))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// auditEvent is what we read of an Event of audit.k8s.io/v1.
type auditEvent struct {
	AuditID                  string                     `json:"auditID"`
	RequestReceivedTimestamp time.Time                  `json:"requestReceivedTimestamp"`
	RequestURI               string                     `json:"requestURI"`
	Verb                     string                     `json:"verb"`
	UserAgent                string                     `json:"userAgent"`
	User                     struct{ Username string }  `json:"user"`
	ImpersonatedUser         *struct{ Username string } `json:"impersonatedUser"`
	ObjectRef                *struct {
		Resource, Subresource, Namespace, Name, APIGroup string
	} `json:"objectRef"`
	ResponseStatus struct{ Code int } `json:"responseStatus"`
	Stage          string             `json:"stage"`
}

func (e auditEvent) request() Request {
	r := Request{
		User: e.User.Username, UserAgent: e.UserAgent, Verb: e.Verb, URI: e.RequestURI,
	}
	if e.Stage == "ResponseComplete" || e.Stage == "Panic" {
		r.Code = e.ResponseStatus.Code
	}
	if e.ImpersonatedUser != nil {
		r.As = e.ImpersonatedUser.Username
	}
	if o := e.ObjectRef; o != nil {
		r.Group, r.Resource, r.Namespace, r.Name = o.APIGroup, o.Resource, o.Namespace, o.Name
		if o.Subresource != "" {
			r.Resource += "/" + o.Subresource
		}
	}
	return r
}

func parse(t testing.TB, line []byte) auditEvent {
	t.Helper()
	var e auditEvent
	if err := json.Unmarshal(line, &e); err != nil {
		t.Fatalf("audit log: %v", err)
	}
	return e
}
