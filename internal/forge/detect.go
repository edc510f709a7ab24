package forge

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"

	"mizzen.dev/mizzen"
)

// maxEvent bounds the file that describes what a job runs for. GitHub caps
// payloads at 25 MB.
const maxEvent = 32 << 20

// Detect finds the forge, the repository, the pull request and the commit in
// the variables of a CI job: GitHub Actions, GitLab CI, Gitea and Forgejo
// Actions. These go before what is found, so that any other CI can be used:
// MIZZEN_FORGE (github, gitlab, gitea), MIZZEN_FORGE_API, MIZZEN_FORGE_REPOSITORY,
// MIZZEN_FORGE_PULL_REQUEST and MIZZEN_FORGE_COMMIT.
//
// A job that runs for no pull request has Number 0. It fails with Kind NotFound
// if there is no forge, and Invalid if a variable cannot be understood.
func Detect(env func(string) string) (Target, error) {
	var t Target
	var err error
	// Gitea and Forgejo set GitHub's variables, too.
	switch {
	case env("GITEA_ACTIONS") != "" || env("FORGEJO_ACTIONS") != "":
		t, err = actions(env, Gitea)
	case env("GITLAB_CI") != "":
		t, err = gitLab(env)
	case env("GITHUB_ACTIONS") != "":
		t, err = actions(env, GitHub)
	}
	if err == nil {
		err = override(&t, env)
	}
	if err != nil {
		return Target{}, err
	}
	t.Token, t.JobToken = tokens(env, t.Forge)
	return t, check(t)
}

// tokens are those of the forge, and of no other.
func tokens(env func(string) string, forge Name) (token, job Token) {
	switch forge {
	case GitHub:
		return Token(cmp.Or(env("GITHUB_TOKEN"), env("GH_TOKEN"))), ""
	case GitLab:
		return Token(env("GITLAB_TOKEN")), Token(env("CI_JOB_TOKEN"))
	case Gitea:
		token := cmp.Or(env("GITEA_TOKEN"), env("FORGEJO_TOKEN"))
		if token == "" && (env("GITEA_ACTIONS") != "" || env("FORGEJO_ACTIONS") != "") {
			token = env("GITHUB_TOKEN")
		}
		return Token(token), ""
	}
	return "", ""
}

// actions reads the variables of GitHub Actions, which Gitea and Forgejo share:
// https://docs.github.com/actions/reference/workflows-and-actions/variables
func actions(env func(string) string, forge Name) (Target, error) {
	server := strings.TrimSuffix(env("GITHUB_SERVER_URL"), "/")
	t := Target{Forge: forge, API: env("GITHUB_API_URL"), Repository: env("GITHUB_REPOSITORY"), Commit: env("GITHUB_SHA")}
	if t.API == "" {
		t.API = "https://api.github.com"
		if forge == Gitea {
			t.API = server + "/api/v1"
		}
	}
	if run := env("GITHUB_RUN_ID"); run != "" && server != "" {
		// Gitea numbers the runs of a repository.
		if forge == Gitea {
			run = cmp.Or(env("GITHUB_RUN_NUMBER"), run)
		}
		t.RunURL = server + "/" + t.Repository + "/actions/runs/" + run
	}
	// refs/pull/7/merge is what a job for a pull request checks out.
	if rest, ok := strings.CutPrefix(env("GITHUB_REF"), "refs/pull/"); ok {
		number, _, _ := strings.Cut(rest, "/")
		t.Number, _ = strconv.Atoi(number)
		// GITHUB_SHA is the merge, then; the head is in the event.
		t.Commit = ""
	}
	if file := env("GITHUB_EVENT_PATH"); file != "" {
		e, err := readEvent(file)
		if err != nil {
			return t, err
		}
		e.fill(&t)
	}
	return t, nil
}

// event is what an Actions job runs for:
// https://docs.github.com/webhooks/webhook-events-and-payloads
type event struct {
	PullRequest *pull `json:"pull_request"`
	WorkflowRun *struct {
		HeadSHA      string `json:"head_sha"`
		PullRequests []pull `json:"pull_requests"`
	} `json:"workflow_run"`
	Issue *struct {
		Number      int              `json:"number"`
		PullRequest *json.RawMessage `json:"pull_request"`
	} `json:"issue"`
}

type pull struct {
	Number int `json:"number"`
	Head   struct {
		SHA string `json:"sha"`
	} `json:"head"`
}

func readEvent(file string) (*event, error) {
	fail := func(kind mizzen.Kind, err error) error {
		return &mizzen.Error{Kind: kind, Object: "GITHUB_EVENT_PATH", Err: err, Remedy: "unset it, and set MIZZEN_FORGE_PULL_REQUEST"}
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fail(mizzen.NotFound, err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxEvent+1))
	if err != nil {
		return nil, fail(mizzen.Invalid, err)
	}
	if len(content) > maxEvent {
		return nil, fail(mizzen.TooLarge, errors.New("the event has more than 32 MiB"))
	}
	var e event
	if err := json.Unmarshal(content, &e); err != nil {
		return nil, fail(mizzen.Invalid, fmt.Errorf("the event is no JSON: %w", err))
	}
	return &e, nil
}

func (e *event) fill(t *Target) {
	switch {
	case e.PullRequest != nil:
		t.Number, t.Commit = e.PullRequest.Number, e.PullRequest.Head.SHA
	case e.WorkflowRun != nil:
		t.Commit = e.WorkflowRun.HeadSHA
		// Pull requests of forks are not listed, and several cannot be told apart.
		if len(e.WorkflowRun.PullRequests) == 1 {
			t.Number = e.WorkflowRun.PullRequests[0].Number
		}
	case e.Issue != nil && e.Issue.PullRequest != nil:
		// The event does not say the head, and GITHUB_SHA is of another branch.
		t.Number, t.Commit = e.Issue.Number, ""
	}
}

// gitLab reads GitLab's predefined variables:
// https://docs.gitlab.com/ci/variables/predefined_variables/
func gitLab(env func(string) string) (Target, error) {
	t := Target{
		Forge: GitLab, API: env("CI_API_V4_URL"), RunURL: env("CI_JOB_URL"),
		// A pipeline of a fork runs there, for a merge request of the parent.
		Repository:       cmp.Or(env("CI_MERGE_REQUEST_PROJECT_ID"), env("CI_PROJECT_ID"), env("CI_PROJECT_PATH")),
		CommitRepository: cmp.Or(env("CI_PROJECT_ID"), env("CI_PROJECT_PATH")),
		// Pipelines for merged results run on a merge that only GitLab has.
		Commit: cmp.Or(env("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA"), env("CI_COMMIT_SHA")),
	}
	if t.API == "" && env("CI_SERVER_URL") != "" {
		t.API = strings.TrimSuffix(env("CI_SERVER_URL"), "/") + "/api/v4"
	}
	return t, number(&t, "CI_MERGE_REQUEST_IID", env)
}

// number reads the number of a pull request from a variable, if it is set.
func number(t *Target, variable string, env func(string) string) error {
	text := env(variable)
	if text == "" {
		return nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n <= 0 {
		return &mizzen.Error{Kind: mizzen.Invalid, Object: variable, Err: errors.New("is not the number of a pull request"), Remedy: "set it to a number such as 7"}
	}
	t.Number = n
	return nil
}

func override(t *Target, env func(string) string) error {
	// Another forge has another address: its token must not go to this one.
	if name := Name(env("MIZZEN_FORGE")); name != "" && name != t.Forge {
		*t = Target{Forge: name}
	}
	t.API = cmp.Or(env("MIZZEN_FORGE_API"), t.API)
	if repository := env("MIZZEN_FORGE_REPOSITORY"); repository != "" {
		t.Repository, t.CommitRepository = repository, ""
	}
	t.Commit = cmp.Or(env("MIZZEN_FORGE_COMMIT"), t.Commit)
	if t.API == "" {
		t.API = map[Name]string{GitHub: "https://api.github.com", GitLab: "https://gitlab.com/api/v4"}[t.Forge]
	}
	return number(t, "MIZZEN_FORGE_PULL_REQUEST", env)
}

// names are the forms of a repository; it becomes a part of a path.
var names = map[Name]*regexp.Regexp{
	GitHub: regexp.MustCompile(`^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$`),
	Gitea:  regexp.MustCompile(`^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$`),
	GitLab: regexp.MustCompile(`^([0-9]+|[\w.-]+(/[\w.-]+)+)$`),
}

func check(t Target) error {
	switch form := names[t.Forge]; {
	case t.Forge == "":
		return &mizzen.Error{
			Kind: mizzen.NotFound, Object: "forge", Err: errors.New("this is no job of GitHub, GitLab, Gitea or Forgejo"),
			Remedy: "set MIZZEN_FORGE, MIZZEN_FORGE_API, MIZZEN_FORGE_REPOSITORY and MIZZEN_FORGE_PULL_REQUEST",
		}
	case form == nil:
		return &mizzen.Error{Kind: mizzen.Invalid, Object: "MIZZEN_FORGE", Err: fmt.Errorf("%q is not known", t.Forge), Remedy: "use github, gitlab or gitea"}
	case !form.MatchString(t.Repository) || strings.Contains(t.Repository, ".."):
		return &mizzen.Error{
			Kind: mizzen.Invalid, Object: string(t.Forge), Err: fmt.Errorf("%q is no repository", t.Repository),
			Remedy: "set MIZZEN_FORGE_REPOSITORY to owner/name",
		}
	case !strings.HasPrefix(t.API, "https://") && !strings.HasPrefix(t.API, "http://"):
		return &mizzen.Error{
			Kind: mizzen.Invalid, Object: string(t.Forge), Err: errors.New("the address of the API is not known"),
			Remedy: "set MIZZEN_FORGE_API, such as https://git.example.com/api/v1",
		}
	}
	return nil
}
