package forge

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mizzen.dev/mizzen"
)

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "event.json")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestDetect(t *testing.T) {
	const head = "fedcba9876543210fedcba9876543210fedcba98"
	pull := write(t, `{"action": "synchronize", "number": 7, "pull_request": {"number": 7, "head": {"sha": "`+head+`"}}}`)
	github := map[string]string{
		"GITHUB_ACTIONS": "true", "GITHUB_SERVER_URL": "https://github.com", "GITHUB_API_URL": "https://api.github.com",
		"GITHUB_REPOSITORY": "acme/shop", "GITHUB_SHA": testCommit, "GITHUB_REF": "refs/heads/main", "GITHUB_RUN_ID": "99",
		"GITHUB_TOKEN": testToken, "GITLAB_TOKEN": "other", "GITEA_TOKEN": "gitea",
	}
	gitlab := map[string]string{
		"GITLAB_CI": "true", "CI_API_V4_URL": "https://gitlab.example/api/v4", "CI_PROJECT_ID": "12", "CI_PROJECT_PATH": "fork/shop",
		"CI_MERGE_REQUEST_PROJECT_ID": "3", "CI_MERGE_REQUEST_IID": "5", "CI_COMMIT_SHA": testCommit,
		"CI_JOB_URL": "https://gitlab.example/j/1", "CI_JOB_TOKEN": "job", "GITLAB_TOKEN": testToken, "GITHUB_TOKEN": "other",
	}
	for _, c := range []struct {
		name string
		env  []map[string]string
		want Target
	}{
		{
			"GitHub, pull request",
			[]map[string]string{github, {"GITHUB_REF": "refs/pull/7/merge", "GITHUB_EVENT_PATH": pull}},
			Target{Forge: GitHub, API: "https://api.github.com", Repository: "acme/shop", Number: 7, Commit: head, RunURL: "https://github.com/acme/shop/actions/runs/99", Token: testToken},
		},
		{
			"GitHub, push",
			[]map[string]string{github, {"GITHUB_EVENT_PATH": write(t, `{"ref": "refs/heads/main"}`)}},
			Target{Forge: GitHub, API: "https://api.github.com", Repository: "acme/shop", Commit: testCommit, RunURL: "https://github.com/acme/shop/actions/runs/99", Token: testToken},
		},
		{
			"GitHub, without the event",
			[]map[string]string{github, {"GITHUB_REF": "refs/pull/7/merge"}},
			Target{Forge: GitHub, API: "https://api.github.com", Repository: "acme/shop", Number: 7, RunURL: "https://github.com/acme/shop/actions/runs/99", Token: testToken},
		},
		{
			"GitHub, after another workflow",
			[]map[string]string{github, {"GITHUB_EVENT_PATH": write(t, `{"workflow_run": {"head_sha": "`+head+`", "pull_requests": [{"number": 8}]}}`)}},
			Target{Forge: GitHub, API: "https://api.github.com", Repository: "acme/shop", Number: 8, Commit: head, RunURL: "https://github.com/acme/shop/actions/runs/99", Token: testToken},
		},
		{
			"GitHub, a comment",
			[]map[string]string{github, {"GITHUB_EVENT_PATH": write(t, `{"issue": {"number": 9, "pull_request": {}}}`), "GITHUB_TOKEN": "", "GH_TOKEN": testToken}},
			Target{Forge: GitHub, API: "https://api.github.com", Repository: "acme/shop", Number: 9, RunURL: "https://github.com/acme/shop/actions/runs/99", Token: testToken},
		},
		{
			"Gitea",
			[]map[string]string{github, {
				"GITEA_ACTIONS": "true", "GITHUB_SERVER_URL": "https://git.example/", "GITHUB_API_URL": "", "GITEA_TOKEN": "",
				"GITHUB_EVENT_PATH": pull, "GITHUB_RUN_NUMBER": "4",
			}},
			Target{Forge: Gitea, API: "https://git.example/api/v1", Repository: "acme/shop", Number: 7, Commit: head, RunURL: "https://git.example/acme/shop/actions/runs/4", Token: testToken},
		},
		{
			"GitLab, merge request of a fork",
			[]map[string]string{gitlab},
			Target{Forge: GitLab, API: "https://gitlab.example/api/v4", Repository: "3", CommitRepository: "12", Number: 5, Commit: testCommit, RunURL: "https://gitlab.example/j/1", Token: testToken, JobToken: "job"},
		},
		{
			"GitLab, merged results",
			[]map[string]string{gitlab, {"CI_MERGE_REQUEST_SOURCE_BRANCH_SHA": head, "CI_API_V4_URL": "", "CI_SERVER_URL": "https://gitlab.example"}},
			Target{Forge: GitLab, API: "https://gitlab.example/api/v4", Repository: "3", CommitRepository: "12", Number: 5, Commit: head, RunURL: "https://gitlab.example/j/1", Token: testToken, JobToken: "job"},
		},
		{
			"anywhere",
			[]map[string]string{{
				"MIZZEN_FORGE": "gitlab", "MIZZEN_FORGE_REPOSITORY": "acme/platform/shop", "MIZZEN_FORGE_PULL_REQUEST": "6",
				"MIZZEN_FORGE_COMMIT": head, "GITLAB_TOKEN": testToken,
			}},
			Target{Forge: GitLab, API: "https://gitlab.com/api/v4", Repository: "acme/platform/shop", Number: 6, Commit: head, Token: testToken},
		},
		// A job of GitHub that speaks to a Gitea takes nothing of GitHub along.
		{
			"another forge",
			[]map[string]string{github, {"MIZZEN_FORGE": "gitea", "MIZZEN_FORGE_API": "https://git.example/api/v1", "MIZZEN_FORGE_REPOSITORY": "a/b"}},
			Target{Forge: Gitea, API: "https://git.example/api/v1", Repository: "a/b", Token: "gitea"},
		},
	} {
		got, err := Detect(environment(c.env...))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if diff := cmp.Diff(c.want, got, cmp.Comparer(func(a, b Token) bool { return a == b })); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

// environment looks a variable up in the last map that has it.
func environment(maps ...map[string]string) func(string) string {
	return func(name string) string {
		value := ""
		for _, m := range maps {
			if v, ok := m[name]; ok {
				value = v
			}
		}
		return value
	}
}

func TestDetectRefuses(t *testing.T) {
	base := map[string]string{"MIZZEN_FORGE": "github", "MIZZEN_FORGE_REPOSITORY": "a/b"}
	for name, env := range map[string]map[string]string{
		"nothing":           {"MIZZEN_FORGE": "", "MIZZEN_FORGE_REPOSITORY": ""},
		"unknown forge":     {"MIZZEN_FORGE": "svn"},
		"no repository":     {"MIZZEN_FORGE_REPOSITORY": ""},
		"hostile repo":      {"MIZZEN_FORGE_REPOSITORY": "a/../../user"},
		"a path":            {"MIZZEN_FORGE_REPOSITORY": "../b"},
		"no number":         {"MIZZEN_FORGE_PULL_REQUEST": "seven"},
		"negative":          {"MIZZEN_FORGE_PULL_REQUEST": "-1"},
		"no address":        {"MIZZEN_FORGE_API": "git.example"},
		"gitea, no address": {"MIZZEN_FORGE": "gitea"},
		"no event":          {"GITHUB_ACTIONS": "true", "GITHUB_EVENT_PATH": filepath.Join(t.TempDir(), "none")},
		"broken event":      {"GITHUB_ACTIONS": "true", "GITHUB_EVENT_PATH": write(t, "{")},
		"huge event":        {"GITHUB_ACTIONS": "true", "GITHUB_EVENT_PATH": write(t, strings.Repeat(" ", maxEvent+1))},
	} {
		target, err := Detect(environment(base, env))
		if k := mizzen.KindOf(err); k != mizzen.NotFound && k != mizzen.Invalid && k != mizzen.TooLarge {
			t.Errorf("%s: %+v, %v", name, target, err)
		}
	}
}
