package live

import (
	"net/http"
	"testing"
)

type refusing struct{}

func (refusing) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"120"}}, Body: http.NoBody,
	}, nil
}

// A watch that is refused must come back at once, other requests wait as asked.
func TestPrompt(t *testing.T) {
	for url, want := range map[string]string{"http://api/pods?watch=true": "", "http://api/pods": "120"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		response, err := prompt{refusing{}}.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if got := response.Header.Get("Retry-After"); got != want {
			t.Errorf("%s: Retry-After %q, want %q", url, got, want)
		}
	}
}
