package forge

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// fake is a forge with one repository and one pull request, number 7, which
// behaves as the API of its kind is documented.
type fake struct {
	forge Name
	url   string

	mu       sync.Mutex
	comments []fakeComment
	statuses []map[string]string
	requests []string
	// whoami is the answer of GET /user; 0 is 200.
	whoami int
	// before may answer a request in the place of the forge.
	before func(w http.ResponseWriter, r *http.Request) (done bool)
	// after is called once a request was carried out; it may spoil the answer.
	after func(w http.ResponseWriter, r *http.Request) (spoiled bool)
}

type fakeComment struct {
	id     int64
	author string
	body   string
}

const (
	testToken  = "s3cret-token"
	testCommit = "0123456789abcdef0123456789abcdef01234567"
	marker     = "<!-- mizzen plan -->"
)

var userIDs = map[string]int64{"mizzen": 42, "mallory": 13, "github-actions[bot]": 41898282, "gitea-actions": -2}

func newFake(t *testing.T, forge Name) *fake {
	f := &fake{forge: forge}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	f.url = server.URL + map[Name]string{GitHub: "", GitLab: "/api/v4", Gitea: "/api/v1"}[forge]
	return f
}

func (f *fake) target() Target {
	repository := "acme/shop"
	if f.forge == GitLab {
		repository = "acme/platform/shop"
	}
	return Target{Forge: f.forge, API: f.url, Repository: repository, Number: 7, Commit: testCommit, RunURL: "https://ci.example/1", Token: testToken}
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	path := strings.TrimPrefix(r.URL.EscapedPath(), strings.TrimPrefix(f.url[strings.Index(f.url, "//")+2:], r.Host))
	f.requests = append(f.requests, r.Method+" "+path)
	if f.before != nil && f.before(w, r) {
		return
	}
	if !f.authenticated(r) {
		answer(w, http.StatusUnauthorized, map[string]string{"message": "Bad credentials"})
		return
	}
	switch repo := f.repo(); {
	case path == "/user":
		f.user(w)
	case strings.HasPrefix(path, repo+f.list()) || strings.HasPrefix(path, repo+"/issues/comments/"):
		f.comment(w, r, path)
	case r.Method == http.MethodPost && path == repo+"/statuses/"+testCommit:
		var s map[string]string
		if json.NewDecoder(r.Body).Decode(&s) != nil {
			answer(w, http.StatusBadRequest, nil)
			return
		}
		f.statuses = append(f.statuses, s)
		answer(w, http.StatusCreated, s)
	default:
		answer(w, http.StatusNotFound, map[string]string{"message": "Not Found"})
	}
}

func (f *fake) repo() string {
	if f.forge == GitLab {
		return "/projects/acme%2Fplatform%2Fshop"
	}
	return "/repos/acme/shop"
}

func (f *fake) list() string {
	if f.forge == GitLab {
		return "/merge_requests/7/notes"
	}
	return "/issues/7/comments"
}

func (f *fake) authenticated(r *http.Request) bool {
	switch f.forge {
	case GitHub:
		return r.Header.Get("Authorization") == "Bearer "+testToken && r.Header.Get("X-GitHub-Api-Version") != ""
	case GitLab:
		return r.Header.Get("PRIVATE-TOKEN") == testToken
	}
	return r.Header.Get("Authorization") == "token "+testToken
}

func (f *fake) user(w http.ResponseWriter) {
	switch f.whoami {
	case 0:
		answer(w, http.StatusOK, map[string]any{"id": userIDs["mizzen"], "login": "mizzen", "username": "mizzen"})
	default:
		answer(w, f.whoami, map[string]string{"message": "Resource not accessible by integration"})
	}
}

// self is who writes with the token.
func (f *fake) self() string {
	switch {
	case f.whoami == 0:
		return "mizzen"
	case f.forge == GitHub:
		return "github-actions[bot]"
	}
	return "gitea-actions"
}

func (f *fake) comment(w http.ResponseWriter, r *http.Request, path string) {
	var in struct {
		Body string `json:"body"`
	}
	if r.Method != http.MethodGet && json.NewDecoder(r.Body).Decode(&in) != nil {
		answer(w, http.StatusBadRequest, nil)
		return
	}
	update := map[Name]string{GitHub: http.MethodPatch, Gitea: http.MethodPatch, GitLab: http.MethodPut}[f.forge]
	id, _ := strconv.ParseInt(path[strings.LastIndex(path, "/")+1:], 10, 64)
	switch {
	case r.Method == http.MethodGet && id == 0:
		f.page(w, r)
		return
	case r.Method == http.MethodPost && id == 0:
		f.comments = append(f.comments, fakeComment{id: int64(1000 + len(f.comments)), author: f.self(), body: in.Body})
	case r.Method == update && id != 0:
		for i := range f.comments {
			if f.comments[i].id == id {
				f.comments[i].body = in.Body
			}
		}
	default:
		answer(w, http.StatusMethodNotAllowed, nil)
		return
	}
	if f.after == nil || !f.after(w, r) {
		answer(w, http.StatusCreated, map[string]any{})
	}
}

// page lists comments as each forge does: GitHub and GitLab in pages that the
// Link header joins, Gitea all at once.
func (f *fake) page(w http.ResponseWriter, r *http.Request) {
	const size = 3 // of the 100 that are asked for
	number := max(1, atoi(r.URL.Query().Get("page")))
	from, to := (number-1)*size, min(number*size, len(f.comments))
	if f.forge == Gitea {
		from, to = 0, len(f.comments)
	}
	if to < len(f.comments) {
		next := *r.URL
		q := next.Query()
		q.Set("page", strconv.Itoa(number+1))
		w.Header().Set("Link", fmt.Sprintf(`<http://%s%s?%s>; rel="next", <http://x>; rel="last"`, r.Host, next.EscapedPath(), q.Encode()))
	}
	page := []map[string]any{}
	for _, c := range f.comments[from:to] {
		kind := "User"
		if strings.HasSuffix(c.author, "[bot]") {
			kind = "Bot"
		}
		user := map[string]any{"id": userIDs[c.author], "login": c.author, "type": kind}
		page = append(page, map[string]any{"id": c.id, "body": c.body, "user": user, "author": user, "system": false})
	}
	answer(w, http.StatusOK, page)
}

func atoi(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// count tells how many requests begin with a text.
func (f *fake) count(prefix string) int {
	n := 0
	for _, r := range f.requests {
		if strings.HasPrefix(r, prefix) {
			n++
		}
	}
	return n
}
