package live

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"mizzen.dev/mizzen"
)

// answers stands in for an API server, where a test needs an answer that a real
// one gives seldom.
type answers func(*http.Request) (status int, body string)

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	status, body := a(r)
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Request: r, ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)),
	}, nil
}

// offline returns a Cluster whose every request gets an answer of a, or 404.
func offline(t testing.TB, a answers) *Cluster {
	t.Helper()
	if a == nil {
		a = func(*http.Request) (int, string) { return http.StatusNotFound, notFound }
	}
	c, err := New(&rest.Config{Host: "https://cluster.example"}, Options{HTTPClient: &http.Client{Transport: a}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const notFound = `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`

// recorder is a Handler that remembers.
type recorder struct {
	mu     sync.Mutex
	events []Event
	more   chan struct{}
}

func newRecorder() *recorder { return &recorder{more: make(chan struct{}, 1)} }

func (r *recorder) listens() Handler {
	return Handler{Event: func(e Event) {
		r.mu.Lock()
		r.events = append(r.events, e)
		r.mu.Unlock()
		select {
		case r.more <- struct{}{}:
		default:
		}
	}}
}

// take returns what came since the last call, as strings without Touched.
func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var s []string
	for _, e := range r.events {
		if e.Type != Touched {
			s = append(s, e.String())
		}
	}
	r.events = nil
	return s
}

var app = mizzen.Name{Namespace: "apps", Name: "web"}

// object returns the metadata of an object of ours, a ConfigMap shop/NAME.
func object(name, uid, version string, entries ...metav1.ManagedFieldsEntry) *metav1.PartialObjectMetadata {
	ref := mizzen.Ref{Kind: "ConfigMap", Namespace: "shop", Name: name}
	o := &metav1.PartialObjectMetadata{}
	o.Name, o.Namespace, o.UID, o.ResourceVersion = name, "shop", types.UID(uid), version
	o.Labels = map[string]string{mizzen.LabelManaged: mizzen.DefaultInstallation}
	o.Annotations = map[string]string{mizzen.AnnotationOwner: app.String(), mizzen.AnnotationIdentity: ref.String()}
	o.ManagedFields = entries
	return o
}
