// Package gitlab is a small client of GitLab's REST API: notes of a merge
// request and statuses of a commit.
// https://docs.gitlab.com/api/notes/ and https://docs.gitlab.com/api/commits/
package gitlab

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"mizzen.dev/mizzen/internal/forge/rest"
)

// maxDescription is what a status takes, in characters.
const maxDescription = 255

// Client speaks for one project.
type Client struct {
	rest *rest.Client
	// project has the merge request, commits the pipeline: of a fork they differ.
	project, commits string
}

// New sets up a client. A project is its path or its number; commits is the
// project whose commits get statuses. jobToken is used if token is empty.
func New(c rest.Client, project, commits, token, jobToken string) *Client {
	c.Header = http.Header{}
	c.Explain = explain
	switch {
	case token != "":
		c.Header.Set("PRIVATE-TOKEN", token)
	case jobToken != "":
		c.Header.Set("JOB-TOKEN", jobToken)
		c.Explain = explainJobToken
	}
	return &Client{
		rest:    &c,
		project: "/projects/" + url.PathEscape(project), commits: "/projects/" + url.PathEscape(commits),
	}
}

func explain(answer *http.Response, r *rest.Request) string {
	if answer.StatusCode == http.StatusUnauthorized {
		return "set GITLAB_TOKEN to a valid token"
	}
	return "use a token with the scope api and " + r.Needs + " in the project"
}

func explainJobToken(*http.Response, *rest.Request) string {
	return "set the CI/CD variable GITLAB_TOKEN to a project access token with the scope api and the role Developer: " +
		"CI_JOB_TOKEN may neither comment nor set a status"
}

type note struct {
	ID     int64  `json:"id"`
	Body   string `json:"body"`
	System bool   `json:"system"`
	Author struct {
		ID int64 `json:"id"`
	} `json:"author"`
}

// Find returns the first note of ours that begins with a marker. The id is 0 if
// there is none. A note of somebody else is none.
func (c *Client) Find(ctx context.Context, number int, marker string) (id int64, body string, err error) {
	var user struct {
		ID int64 `json:"id"`
	}
	if err := c.rest.Do(ctx, &rest.Request{Method: http.MethodGet, Path: "/user", What: "the user of the token", Needs: "the role Reporter"}, &user); err != nil {
		return 0, "", err
	}
	r := &rest.Request{
		Method: http.MethodGet, Path: fmt.Sprintf("%s/merge_requests/%d/notes?per_page=100&sort=asc", c.project, number),
		What: fmt.Sprintf("notes of merge request %d", number), Needs: "the role Reporter",
	}
	found, err := rest.First(ctx, c.rest, r, func(n note) bool {
		return !n.System && n.Author.ID == user.ID && strings.HasPrefix(n.Body, marker)
	})
	return found.ID, found.Body, err
}

// Create writes a note.
func (c *Client) Create(ctx context.Context, number int, body string) error {
	return c.rest.Do(ctx, &rest.Request{
		Method: http.MethodPost, Path: fmt.Sprintf("%s/merge_requests/%d/notes", c.project, number), Body: rest.Content{Body: body},
		What: fmt.Sprintf("note on merge request %d", number), Needs: "the role Reporter",
	}, nil)
}

// Update replaces a note.
func (c *Client) Update(ctx context.Context, number int, id int64, body string) error {
	return c.rest.Do(ctx, &rest.Request{
		Method: http.MethodPut, Path: fmt.Sprintf("%s/merge_requests/%d/notes/%d", c.project, number, id), Body: rest.Content{Body: body},
		What: fmt.Sprintf("note on merge request %d", number), Needs: "the role Reporter",
	}, nil)
}

// states are GitLab's words.
var states = map[rest.State]string{
	rest.Pending: "pending", rest.Success: "success", rest.Failure: "failed", rest.Error: "failed",
}

// Status sets a status of a commit. GitLab refuses a status that a commit has
// already; it has it, then.
func (c *Client) Status(ctx context.Context, commit string, s rest.Status) error {
	fields := s.Fields("name", maxDescription)
	fields["state"] = states[s.State]
	err := c.rest.Do(ctx, &rest.Request{
		Method: http.MethodPost, Path: c.commits + "/statuses/" + commit, Body: fields, Repeatable: true,
		What: "status of commit " + commit, Needs: "the role Developer",
	}, nil)
	if rest.Answered(err, http.StatusBadRequest, "Cannot transition status") {
		return nil
	}
	return err
}
