package live

import "net/http"

// prompt takes from refused watches when to try again. An API server that ends
// names a time at which its successor should be up, and the client would sleep
// until then without a word; the Watcher has pauses of its own, and has to
// find out whether there is an outage.
type prompt struct{ next http.RoundTripper }

// RoundTrip completes http.RoundTripper.
func (p prompt) RoundTrip(r *http.Request) (*http.Response, error) {
	next := p.next
	if next == nil {
		next = http.DefaultTransport
	}
	response, err := next.RoundTrip(r)
	if err == nil && response.StatusCode != http.StatusOK && r.URL.Query().Has("watch") {
		response.Header.Del("Retry-After")
	}
	return response, err
}

// WrappedRoundTripper lets the API client see through.
func (p prompt) WrappedRoundTripper() http.RoundTripper { return p.next }
