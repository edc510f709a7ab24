package live

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"syscall"
	"testing"

	utilnet "k8s.io/apimachinery/pkg/util/net"
)

type refusing struct{ err error }

func (r refusing) RoundTrip(*http.Request) (*http.Response, error) {
	if r.err != nil {
		return nil, r.err
	}
	return &http.Response{
		StatusCode: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"120"}}, Body: http.NoBody,
	}, nil
}

func ask(t *testing.T, url string, next http.RoundTripper) (*http.Response, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	return prompt{next}.RoundTrip(r)
}

// A watch that is refused must come back at once, other requests wait as asked.
func TestPrompt(t *testing.T) {
	for url, want := range map[string]string{"http://api/pods?watch=true": "", "http://api/pods": "120"} {
		response, err := ask(t, url, refusing{})
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if got := response.Header.Get("Retry-After"); got != want {
			t.Errorf("%s: Retry-After %q, want %q", url, got, want)
		}
	}
}

// What the client takes for a connection to try again must not look like one.
func TestSevered(t *testing.T) {
	for _, cause := range []error{
		io.EOF, syscall.ECONNRESET, syscall.ECONNREFUSED,
		errors.New("http2: server sent GOAWAY and closed the connection; LastStreamID=1"),
	} {
		_, err := ask(t, "http://api/pods?watch=true", refusing{cause}) //nolint:bodyclose // There is none.
		err = &url.Error{Op: "Get", URL: "http://api/pods", Err: err}
		if utilnet.IsProbableEOF(err) || utilnet.IsConnectionReset(err) || utilnet.IsConnectionRefused(err) {
			t.Errorf("the client tries again after %v", err)
		}
	}
}
