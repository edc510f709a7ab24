package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"mizzen.dev/mizzen/internal/report"
)

// requests answers like a Gitea without comments, and keeps what it is told.
func requests(t *testing.T, refuse string) *[]string {
	t.Helper()
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body map[string]string
		_ = json.NewDecoder(r.Body).Decode(&body)
		got = append(got, fmt.Sprint(r.Method, " ", r.URL.Path, " ", body["state"], body["description"], body["body"]))
		switch {
		case refuse != "" && strings.Contains(r.URL.Path, refuse):
			w.WriteHeader(http.StatusForbidden)
		case r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/comments"):
			_, _ = w.Write([]byte("[]"))
		default:
			_, _ = w.Write([]byte("{}"))
		}
	}))
	t.Cleanup(server.Close)
	for name, value := range map[string]string{
		"GITEA_ACTIONS": "", "FORGEJO_ACTIONS": "", "GITHUB_ACTIONS": "", "GITLAB_CI": "",
		"MIZZEN_FORGE": "gitea", "MIZZEN_FORGE_API": server.URL, "MIZZEN_FORGE_REPOSITORY": "acme/shop",
		"MIZZEN_FORGE_PULL_REQUEST": "7", "MIZZEN_FORGE_COMMIT": strings.Repeat("a", 40), "GITEA_TOKEN": "s3cret",
	} {
		t.Setenv(name, value)
	}
	return &got
}

func TestComment(t *testing.T) {
	newClone(t)
	put(t, "web/templates/set.yaml", strings.ReplaceAll(tower["web/templates/set.yaml"], "\ndata: {", "\ndata: {more: \"1\", "))
	status := "POST /repos/acme/shop/statuses/" + strings.Repeat("a", 40)

	got := requests(t, "")
	must(t, ExitNo, "plan --base main --comment")
	all := strings.Join(*got, "\n")
	mentions(t, all, "POST /repos/acme/shop/issues/7/comments "+report.CommentMarker, "data.more", status+" failureallowed")

	got = requests(t, "")
	must(t, ExitYes, "plan --base main --comment --fail-on deny")
	mentions(t, strings.Join(*got, "\n"), status+" successallowed")

	// A push has a commit, and no pull request.
	got = requests(t, "")
	t.Setenv("MIZZEN_FORGE_PULL_REQUEST", "")
	must(t, ExitYes, "plan --base main --comment --fail-on deny")
	if len(*got) != 1 || !strings.HasPrefix((*got)[0], status) {
		t.Errorf("%q", *got)
	}
}

func TestCommentThatFails(t *testing.T) {
	newClone(t)
	requests(t, "/statuses/")
	said := must(t, ExitUnknown, "plan --base main --comment")
	mentions(t, said.err, "tell the pull request", "write:repository")
	if strings.Contains(said.err+said.out, "s3cret") {
		t.Errorf("it prints the token: %s", said.err)
	}

	// What cannot be planned is told, too.
	got := requests(t, "")
	mentions(t, must(t, ExitUnknown, "plan --base nowhere --comment").err, "nowhere")
	mentions(t, strings.Join(*got, "\n"), "errorcould not be planned")

	// What is missing is said before anything is done.
	t.Setenv("MIZZEN_FORGE", "")
	mentions(t, must(t, ExitUnknown, "plan --base main --comment").err, "set MIZZEN_FORGE")
	mentions(t, must(t, ExitUnknown, "plan web --comment").err, "name a base")
}
