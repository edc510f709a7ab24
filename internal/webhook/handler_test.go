package webhook

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mizzen.dev/mizzen"
)

// receiver is a Handler with Repositories, and what it was told.
type receiver struct {
	http.Handler
	mu     sync.Mutex
	now    time.Time
	passed []string
}

// repository is a Repository by its URL.
type repository struct{ name, url, secret string }

func newReceiver(repositories ...repository) *receiver {
	r := &receiver{now: time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)}
	match := func(keys []string) []Target {
		var targets []Target
		for _, repo := range repositories {
			if slices.Contains(keys, Key(repo.url)) {
				targets = append(targets, Target{mizzen.Name{Namespace: "shop", Name: repo.name}, []byte(repo.secret)})
			}
		}
		return targets
	}
	notify := func(name mizzen.Name, p Push) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.passed = append(r.passed, name.Name+" "+p.Ref)
	}
	r.Handler = Handler(match, notify, WithClock(func() time.Time { return r.now }))
	return r
}

func (r *receiver) send(header http.Header, body string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(http.MethodPost, "/webhook", strings.NewReader(body))
	req.Header = header
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	return w
}

func TestHandlerPassesPushesOfEveryForge(t *testing.T) {
	urls := map[string]string{
		"github": "https://github.com/bookshop/deploy.git", "github form": "ssh://git@github.com/Bookshop/deploy",
		"gitlab": "git@git.example.com:bookshop/platform/deploy.git", "gitlab tag": "https://gitlab.com/bookshop/deploy",
		"gitea": "https://git.example.com:3000/bookshop/deploy", "forgejo": "ssh://git@git.example.com:2222/bookshop/deploy",
		"bitbucket": "git@bitbucket.org:bookshop/deploy.git", "bitbucket server": "https://bitbucket.example.com/scm/shop/deploy",
		"generic": "ssh://git@git.example.com/bookshop/deploy", "github ping": "https://github.com/Bookshop/deploy",
	}
	all := deliveries(t)
	for name, u := range urls {
		r := newReceiver(repository{"deploy", u, secret}, repository{"other", "https://github.com/x/y", secret})
		w := r.send(all[name].header, all[name].body)
		want := []string{"deploy refs/heads/main"}
		switch name {
		case "gitlab tag":
			want = []string{"deploy refs/tags/v1.4.0"}
		case "github ping":
			want = nil
		}
		if w.Code != http.StatusAccepted {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		if diff := cmp.Diff(want, r.passed); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
}

// Repositories of several namespaces may have the same URL and other secrets:
// only those whose secret signed are told.
func TestHandlerTellsOnlyWhoSigned(t *testing.T) {
	const u = "https://github.com/bookshop/deploy"
	r := newReceiver(
		repository{"right", u, secret}, repository{"wrong", u, "another"},
		repository{"open", u, ""}, repository{"too", u, secret},
	)
	d := deliveries(t)["github"]
	if w := r.send(d.header, d.body); w.Code != http.StatusAccepted {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if diff := cmp.Diff([]string{"right refs/heads/main", "too refs/heads/main"}, r.passed); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// A stranger sees the same whether the repository is unknown, has no secret,
// or the request is unsigned or wrongly signed.
func TestHandlerDoesNotTellWhatIsWrong(t *testing.T) {
	const u = "https://github.com/bookshop/deploy"
	d := deliveries(t)["github"]
	unsigned := d.header.Clone()
	unsigned.Del("X-Hub-Signature-256")
	wrong := d.header.Clone()
	wrong.Set("X-Hub-Signature-256", "sha256="+signature("wrong", d.body))
	sha1 := unsigned.Clone()
	sha1.Set("X-Hub-Signature", "sha1=7d38cdd689735b008b3c702edd92eea23791c5f6")
	var first *httptest.ResponseRecorder
	for name, c := range map[string]struct {
		repos  []repository
		header http.Header
		body   string
	}{
		"unknown":       {nil, d.header, d.body},
		"other":         {[]repository{{"x", "https://github.com/x/y", secret}}, d.header, d.body},
		"no secret":     {[]repository{{"x", u, ""}}, d.header, d.body},
		"unsigned":      {[]repository{{"x", u, secret}}, unsigned, d.body},
		"wrong":         {[]repository{{"x", u, secret}}, wrong, d.body},
		"SHA-1":         {[]repository{{"x", u, secret}}, sha1, d.body},
		"changed":       {[]repository{{"x", u, secret}}, d.header, d.body + " "},
		"decoy secret":  {nil, headers("X-GitHub-Event", "push", "X-Hub-Signature-256", "sha256="+signature(string(nobody[0].Secret), d.body)), d.body},
		"unsigned ping": {[]repository{{"x", u, secret}}, headers("X-GitHub-Event", "ping"), d.body},
	} {
		r := newReceiver(c.repos...)
		w := r.send(c.header, c.body)
		if w.Code != http.StatusUnauthorized || len(r.passed) > 0 {
			t.Errorf("%s: %d, passed %v", name, w.Code, r.passed)
		}
		if first == nil {
			first = w
		}
		if diff := cmp.Diff(first.Header(), w.Header()); diff != "" || first.Body.String() != w.Body.String() {
			t.Errorf("%s answers %v %s, another %v %s", name, w.Header(), w.Body, first.Header(), first.Body)
		}
	}
}

func TestHandlerAnswers(t *testing.T) {
	r := newReceiver(repository{"deploy", "https://github.com/bookshop/deploy", secret})
	big := strings.Repeat(" ", MaxBody+1)
	cases := []struct {
		name string
		w    *httptest.ResponseRecorder
		code int
	}{
		{"not JSON", r.send(headers("X-GitHub-Event", "push"), "hello"), http.StatusBadRequest},
		{"no forge", r.send(headers(), "{}"), http.StatusBadRequest},
		{"text", r.send(http.Header{"X-Github-Event": {"push"}, "Content-Type": {"text/plain"}}, "{}"), http.StatusBadRequest},
		{"oversized", r.send(headers("X-GitHub-Event", "push"), big), http.StatusRequestEntityTooLarge},
	}
	for _, c := range cases {
		var a answer
		if err := json.Unmarshal(c.w.Body.Bytes(), &a); err != nil || a.Error == "" {
			t.Errorf("%s: body %q, error %v", c.name, c.w.Body, err)
		}
		if c.w.Code != c.code || c.w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %v", c.name, c.w.Code, c.w.Header())
		}
	}
	w := httptest.NewRecorder()
	r.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/webhook", nil))
	if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != http.MethodPost {
		t.Errorf("GET: %d %v", w.Code, w.Header())
	}
}

// A replayed request is passed on, but no faster than the limit; another
// Repository is not held up by it, and a stranger uses nothing up.
func TestHandlerLimitsEachRepository(t *testing.T) {
	all := deliveries(t)
	d, other := all["github"], all["gitlab"]
	r := newReceiver(
		repository{"deploy", "https://github.com/bookshop/deploy", secret},
		repository{"other", "git@git.example.com:bookshop/platform/deploy.git", secret},
	)
	for range 100 {
		r.send(headers("X-GitHub-Event", "push"), d.body)
	}
	count := func(n int) (accepted int) {
		for range n {
			w := r.send(d.header, d.body)
			if w.Code == http.StatusAccepted {
				accepted++
			} else if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "1" {
				t.Fatalf("%d %v", w.Code, w.Header())
			}
		}
		return accepted
	}
	if got := count(burst + 5); got != burst {
		t.Errorf("%d of the first burst were accepted, want %d", got, burst)
	}
	if w := r.send(other.header, other.body); w.Code != http.StatusAccepted {
		t.Errorf("another Repository: %d", w.Code)
	}
	r.now = r.now.Add(3 * interval)
	if got := count(10); got != 3 {
		t.Errorf("%d were accepted after 3 intervals, want 3", got)
	}
	if got := len(r.passed); got != burst+1+3 {
		t.Errorf("%d pushes were passed on", got)
	}
}

func TestHandlerIsSafeForConcurrentUse(t *testing.T) {
	var repos []repository
	for i := range 8 {
		repos = append(repos, repository{fmt.Sprint("r", i), fmt.Sprintf("https://git.example.com/a/r%d", i), secret})
	}
	r := newReceiver(repos...)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			body := fmt.Sprintf(`{"repository": "https://git.example.com/a/r%d", "ref": "refs/heads/main"}`, i)
			for range burst {
				if w := r.send(headers("X-Mizzen-Signature-256", "sha256="+signature(secret, body)), body); w.Code != http.StatusAccepted {
					t.Errorf("%d %s", w.Code, w.Body)
				}
			}
		})
	}
	wg.Wait()
	if len(r.passed) != 8*burst {
		t.Errorf("%d pushes were passed on, want %d", len(r.passed), 8*burst)
	}
}
