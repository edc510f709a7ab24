package live

import (
	"context"
	"errors"
	"net/http"
	"strings"
)

// prompt lets a watch that is not opened come back at once. The client would
// try again by itself, when a dying API server asks for that later, or after a
// connection that broke; then it takes no answer for a stream without events,
// and the Reflector goes on for ever without a word. The Watcher has pauses of
// its own, and has to find out whether there is an outage.
type prompt struct{ next http.RoundTripper }

// RoundTrip completes http.RoundTripper.
func (p prompt) RoundTrip(r *http.Request) (*http.Response, error) {
	next := p.next
	if next == nil {
		next = http.DefaultTransport
	}
	response, err := next.RoundTrip(r)
	switch {
	case !r.URL.Query().Has("watch"):
	case err != nil && !errors.Is(err, context.Canceled):
		return response, severed{err}
	case err == nil && response.StatusCode != http.StatusOK:
		response.Header.Del("Retry-After")
	}
	return response, err
}

// WrappedRoundTripper lets the API client see through.
func (p prompt) WrappedRoundTripper() http.RoundTripper { return p.next }

// severed is an error of a connection that the client does not know as one. It
// goes by types and by words.
type severed struct{ cause error }

var otherWords = strings.NewReplacer(" by peer", "", "http2: ", "")

func (s severed) Error() string { return otherWords.Replace(s.cause.Error()) }
