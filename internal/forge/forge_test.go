package forge

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mizzen.dev/mizzen"
)

var forges = []Name{GitHub, GitLab, Gitea}

// publisher waits by counting.
func publisher(waits *[]time.Duration) *Publisher {
	return &Publisher{Wait: func(_ context.Context, d time.Duration) error {
		*waits = append(*waits, d)
		return nil
	}}
}

func publish(t *testing.T, f *fake, body string) error {
	t.Helper()
	var waits []time.Duration
	return publisher(&waits).Publish(t.Context(), f.target(), Comment{Marker: marker, Body: body}, Status{})
}

// others are comments by people, one of whom imitates ours, on several pages.
func others() []fakeComment {
	var list []fakeComment
	for i := range 7 {
		list = append(list, fakeComment{id: int64(i + 1), author: "mallory", body: "looks good"})
	}
	list[2].body = marker + "\nall is well"
	return list
}

func TestOneCommentIsKept(t *testing.T) {
	for _, name := range forges {
		t.Run(string(name), func(t *testing.T) {
			f := newFake(t, name)
			f.comments = others()
			for _, body := range []string{"first", "second", "second"} {
				if err := publish(t, f, marker+"\n"+body); err != nil {
					t.Fatal(err)
				}
			}
			if len(f.comments) != 8 || f.comments[7].body != marker+"\nsecond" || f.comments[2].body != marker+"\nall is well" {
				t.Errorf("comments: %+v", f.comments)
			}
			// What is there already is not written again.
			if writes := f.count("POST") + f.count("PATCH") + f.count("PUT"); writes != 2 {
				t.Errorf("%d writes: %v", writes, f.requests)
			}
		})
	}
}

// The token of a job is nobody's: its comments are told by their author.
func TestJobTokens(t *testing.T) {
	for _, name := range []Name{GitHub, Gitea} {
		f := newFake(t, name)
		f.whoami = http.StatusForbidden
		f.comments = others()
		for _, body := range []string{"first", "second"} {
			if err := publish(t, f, marker+body); err != nil {
				t.Fatal(err)
			}
		}
		if len(f.comments) != 8 || f.comments[7].body != marker+"second" {
			t.Errorf("%s: comments: %+v", name, f.comments)
		}
	}
}

func TestStatus(t *testing.T) {
	words := map[Name]string{GitHub: "failure", GitLab: "failed", Gitea: "failure"}
	for _, name := range forges {
		f := newFake(t, name)
		status := Status{State: Failure, Description: strings.Repeat("ä", 300)}
		if err := Publish(t.Context(), f.target(), Comment{}, status); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want := map[string]string{"state": words[name], "context": StatusContext, "target_url": "https://ci.example/1"}
		got := f.statuses[0]
		if name == GitLab {
			got["context"] = got["name"]
			delete(got, "name")
		}
		if n := len([]rune(got["description"])); n != 140 && n != 255 {
			t.Errorf("%s: a description of %d characters", name, n)
		}
		delete(got, "description")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestGitLabStatusThatIsThereAlready(t *testing.T) {
	f := newFake(t, GitLab)
	f.before = func(w http.ResponseWriter, _ *http.Request) bool {
		answer(w, http.StatusBadRequest, map[string]string{"message": "Cannot transition status via :enqueue from :pending"})
		return true
	}
	if err := Publish(t.Context(), f.target(), Comment{}, Status{State: Pending}); err != nil {
		t.Error(err)
	}
}

func TestMissingPermissionIsNamed(t *testing.T) {
	for name, want := range map[Name][2]string{
		GitHub: {"pull-requests: write", "statuses: write"},
		GitLab: {"role Reporter", "role Developer"},
		Gitea:  {"write:issue", "write:repository"},
	} {
		f := newFake(t, name)
		f.before = func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPost {
				return false
			}
			w.Header().Set("X-Accepted-GitHub-Permissions", "issues=write; pull_requests=write")
			answer(w, http.StatusForbidden, map[string]string{"message": "Resource not accessible by integration"})
			return true
		}
		err := Publish(t.Context(), f.target(), Comment{Marker: marker, Body: marker}, Status{State: Success})
		joined, ok := err.(interface{ Unwrap() []error })
		if !ok || len(joined.Unwrap()) != 2 {
			t.Fatalf("%s: %v", name, err)
		}
		for i, one := range joined.Unwrap() {
			if mizzen.KindOf(one) != mizzen.Forbidden || !strings.Contains(one.Error(), want[i]) || strings.Contains(one.Error(), testToken) {
				t.Errorf("%s: %v", name, one)
			}
		}
	}
}

func TestBadTokens(t *testing.T) {
	for _, name := range forges {
		f := newFake(t, name)
		target := f.target()
		target.Token = "wrong-secret"
		err := Publish(t.Context(), target, Comment{Marker: marker, Body: marker}, Status{})
		if mizzen.KindOf(err) != mizzen.Forbidden || !strings.Contains(err.Error(), "_TOKEN") || strings.Contains(err.Error(), "wrong-secret") {
			t.Errorf("%s: %v", name, err)
		}
		target.Token = ""
		err = Publish(t.Context(), target, Comment{Marker: marker, Body: marker}, Status{})
		if mizzen.KindOf(err) != mizzen.Forbidden || !strings.Contains(err.Error(), strings.ToUpper(string(name))+"_TOKEN") {
			t.Errorf("%s without a token: %v", name, err)
		}
	}
	target := newFake(t, GitLab).target()
	target.Token, target.JobToken = "", "job-secret"
	err := Publish(t.Context(), target, Comment{Marker: marker, Body: marker}, Status{})
	if err == nil || !strings.Contains(err.Error(), "CI_JOB_TOKEN may neither") {
		t.Errorf("job token: %v", err)
	}
}

// A Gitea token without read:user would make a new comment of each run.
func TestGiteaTokenWithoutScope(t *testing.T) {
	f := newFake(t, Gitea)
	f.before = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/user") {
			answer(w, http.StatusForbidden, map[string]string{"message": "token does not have at least one of required scope(s): [read:user]"})
			return true
		}
		return false
	}
	if err := publish(t, f, marker); err == nil || !strings.Contains(err.Error(), "read:user") || len(f.comments) != 0 {
		t.Errorf("%v, %d comments", err, len(f.comments))
	}
}

func TestRetries(t *testing.T) {
	for _, c := range []struct {
		name   string
		status int
		header map[string]string
		times  int
		waits  []time.Duration
		ok     bool
	}{
		{"server error", 502, nil, 2, []time.Duration{time.Second, 2 * time.Second}, true},
		{"too many", 429, map[string]string{"Retry-After": "7"}, 1, []time.Duration{7 * time.Second}, true},
		{"far too long", 429, map[string]string{"Retry-After": "86400"}, 1, []time.Duration{30 * time.Second}, true},
		{"GitHub's second limit", 403, map[string]string{"Retry-After": "1"}, 1, []time.Duration{time.Second}, true},
		{"for ever", 503, nil, 100, []time.Duration{time.Second, 2 * time.Second, 4 * time.Second}, false},
		{"no retry", 422, nil, 100, nil, false},
	} {
		f := newFake(t, GitHub)
		left := c.times
		f.before = func(w http.ResponseWriter, _ *http.Request) bool {
			if left--; left < 0 {
				return false
			}
			for k, v := range c.header {
				w.Header().Set(k, v)
			}
			answer(w, c.status, map[string]string{"message": "not now"})
			return true
		}
		var waits []time.Duration
		err := publisher(&waits).Publish(t.Context(), f.target(), Comment{}, Status{State: Success})
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
		if diff := cmp.Diff(c.waits, waits); diff != "" {
			t.Errorf("%s: waits %s", c.name, diff)
		}
	}
}

// A comment whose fate is not known is looked for before another is written.
func TestNoSecondCommentAfterABrokenAnswer(t *testing.T) {
	for _, name := range forges {
		f := newFake(t, name)
		f.after = func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPost {
				return false
			}
			answer(w, http.StatusBadGateway, nil)
			return true
		}
		if err := publish(t, f, marker); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if len(f.comments) != 1 {
			t.Errorf("%s: %d comments", name, len(f.comments))
		}
	}
}

func TestTokenStaysWithItsHost(t *testing.T) {
	for _, name := range forges {
		var leaked []string
		elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			for _, h := range []string{"Authorization", "PRIVATE-TOKEN", "JOB-TOKEN"} {
				leaked = append(leaked, r.Header.Get(h))
			}
		}))
		f := newFake(t, name)
		f.before = func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, elsewhere.URL+r.URL.Path, http.StatusTemporaryRedirect)
			return true
		}
		err := Publish(t.Context(), f.target(), Comment{Marker: marker, Body: marker}, Status{State: Success})
		elsewhere.Close()
		if err == nil || len(leaked) > 0 {
			t.Errorf("%s: %v, sent elsewhere: %q", name, err, leaked)
		}
	}
}

// GitHub redirects requests for a repository that was renamed.
func TestRedirectOnTheSameHost(t *testing.T) {
	f := newFake(t, GitHub)
	f.before = func(w http.ResponseWriter, r *http.Request) bool {
		rest, old := strings.CutPrefix(r.URL.Path, "/repos/old/name")
		if old {
			http.Redirect(w, r, "/repos/acme/shop"+rest, http.StatusTemporaryRedirect)
		}
		return old
	}
	target := f.target()
	target.Repository = "old/name"
	if err := Publish(t.Context(), target, Comment{Marker: marker, Body: marker}, Status{State: Success}); err != nil || len(f.comments) != 1 || len(f.statuses) != 1 {
		t.Errorf("%v, %d comments, %d statuses", err, len(f.comments), len(f.statuses))
	}
}

// A next page that leaves the API is not read, and there is an end to pages.
func TestPagesAreBounded(t *testing.T) {
	f := newFake(t, GitHub)
	for name, link := range map[string]string{"elsewhere": "http://127.0.0.1:1/steal", "endless": f.url + "/repos/acme/shop/issues/7/comments?page=1"} {
		f.requests = nil
		f.before = func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodGet || strings.HasSuffix(r.URL.Path, "/user") {
				return false
			}
			w.Header().Set("Link", fmt.Sprintf(`<%s>; rel="next"`, link))
			answer(w, http.StatusOK, []any{})
			return true
		}
		err := publish(t, f, marker)
		want := map[string]mizzen.Kind{"endless": mizzen.TooLarge}[name]
		if mizzen.KindOf(err) != want || len(f.requests) > 60 {
			t.Errorf("%s: %v after %d requests", name, err, len(f.requests))
		}
	}
}

func TestHugeAndBrokenAnswers(t *testing.T) {
	for text, want := range map[string]mizzen.Kind{
		"<html>a proxy</html>":           mizzen.Unreachable,
		strings.Repeat(" ", (16<<20)+10): mizzen.TooLarge,
	} {
		f := newFake(t, GitHub)
		f.before = func(w http.ResponseWriter, _ *http.Request) bool {
			_, _ = w.Write([]byte(text))
			return true
		}
		if err := publish(t, f, marker); mizzen.KindOf(err) != want {
			t.Errorf("%.20q: %v", text, err)
		}
	}
}

func TestBadComments(t *testing.T) {
	f := newFake(t, GitHub)
	noPull := f.target()
	noPull.Number = 0
	noCommit := f.target()
	noCommit.Commit = "../../x"
	for name, err := range map[string]error{
		"no pull request": Publish(t.Context(), noPull, Comment{Marker: marker, Body: marker}, Status{}),
		"no marker":       Publish(t.Context(), f.target(), Comment{Marker: marker, Body: "x"}, Status{}),
		"too large":       Publish(t.Context(), f.target(), Comment{Marker: marker, Body: marker + strings.Repeat("x", maxComment)}, Status{}),
		"no commit":       Publish(t.Context(), noCommit, Comment{}, Status{State: Success}),
		"no forge":        Publish(t.Context(), Target{Forge: "svn", Token: "x"}, Comment{}, Status{}),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if len(f.requests) > 0 {
		t.Errorf("requests: %v", f.requests)
	}
}

func TestTokensAreNotPrinted(t *testing.T) {
	target := Target{Token: testToken, JobToken: testToken}
	document, err := json.Marshal(target)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprint(target), fmt.Sprintf("%+v %#v %s %q", target, target, target.Token, target.Token), string(document)} {
		if strings.Contains(text, testToken) {
			t.Errorf("%s", text)
		}
	}
}
