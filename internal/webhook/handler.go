package webhook

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"mizzen.dev/mizzen"
)

// Target is a Repository that may be meant by a push.
type Target struct {
	Name mizzen.Name
	// Secret is what its webhook signs with; without one it accepts nothing.
	Secret []byte
}

// How many pushes of one Repository are passed on: a burst, then one per
// interval. What is refused is found by the next poll.
const (
	burst    = 20
	interval = time.Second
)

// Option changes how a Handler works.
type Option func(*handler)

// WithClock sets the clock of the rate limit; the default is time.Now.
func WithClock(now func() time.Time) Option { return func(h *handler) { h.now = now } }

// Handler receives webhooks. It asks match for the Repositories that have one
// of the keys (see Key), and tells notify each of those whose secret signed the
// request. Both are called on the goroutine of the request and must not block.
//
// It answers 202 once a push is passed on or, if it is no push, understood; 400
// to a request of another form; 401 to one that no matching Repository's secret
// signed, be it that there is none; 405, 413 and 429 as HTTP says. The body is
// JSON: {"status": …} or {"error": …}.
func Handler(match func(keys []string) []Target, notify func(mizzen.Name, Push), options ...Option) http.Handler {
	h := &handler{match: match, notify: notify, now: time.Now, limits: map[mizzen.Name]*rate.Limiter{}}
	for _, o := range options {
		o(h)
	}
	return h
}

type handler struct {
	match  func(keys []string) []Target
	notify func(mizzen.Name, Push)
	now    func() time.Time

	mu     sync.Mutex
	limits map[mizzen.Name]*rate.Limiter
}

// answer is what a forge shows beside the delivery.
type answer struct {
	Status string `json:"status,omitempty"`
	Error  string `json:"error,omitempty"`
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		reply(w, http.StatusMethodNotAllowed, answer{Error: "send a POST request"})
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	var tooLong *http.MaxBytesError
	if errors.As(err, &tooLong) {
		reply(w, http.StatusRequestEntityTooLarge, answer{Error: "body is too long"})
		return
	}
	if err != nil {
		reply(w, http.StatusBadRequest, answer{Error: "body cannot be read"})
		return
	}
	m, err := Parse(r.Header, body)
	if err != nil {
		reply(w, http.StatusBadRequest, answer{Error: err.Error()})
		return
	}
	code, result := h.pass(m)
	reply(w, code, result)
}

// pass tells the Repositories whose secret signed a message.
func (h *handler) pass(m Message) (int, answer) {
	signed := signers(m, h.match(keys(m.Push.URLs)))
	switch {
	case len(signed) == 0:
		return http.StatusUnauthorized, answer{Error: forbidden().Error()}
	case m.Ignored:
		return http.StatusAccepted, answer{Status: "ignored"}
	}
	passed := 0
	for _, name := range signed {
		if h.allowed(name) {
			h.notify(name, m.Push)
			passed++
		}
	}
	if passed == 0 {
		return http.StatusTooManyRequests, answer{Error: "too many pushes; the next poll finds what is new"}
	}
	return http.StatusAccepted, answer{Status: "accepted"}
}

// nobody is tried where no Repository matches, so that the answer takes as long
// as if one did.
var nobody = []Target{{Secret: []byte("a secret that signs nothing")}}

func signers(m Message, targets []Target) []mizzen.Name {
	decoy := len(targets) == 0
	if decoy {
		targets = nobody
	}
	var signed []mizzen.Name
	for _, t := range targets {
		if m.SignedBy(t.Secret) && !decoy {
			signed = append(signed, t.Name)
		}
	}
	return signed
}

// maxLimits bounds the memory for limits. Only who knows a secret gets one.
const maxLimits = 10_000

func (h *handler) allowed(name mizzen.Name) bool {
	now := h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	limit := h.limits[name]
	if limit == nil {
		if len(h.limits) >= maxLimits {
			clear(h.limits)
		}
		limit = rate.NewLimiter(rate.Every(interval), burst)
		h.limits[name] = limit
	}
	return limit.AllowN(now, 1)
}

func reply(w http.ResponseWriter, code int, a answer) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if code == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	w.WriteHeader(code)
	// The client may be gone; there is nobody else to tell.
	_ = json.NewEncoder(w).Encode(a)
}
