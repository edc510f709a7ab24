// Package gitea is a small client of the REST API of Gitea and Forgejo: comments
// of a pull request and statuses of a commit. Its form is GitHub's, its
// particulars are not. https://docs.gitea.com/api/ and
// https://codeberg.org/api/swagger
package gitea

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"mizzen.dev/mizzen/internal/forge/rest"
)

// maxDescription is what is shown of a status, in characters.
const maxDescription = 255

// Client speaks for one repository.
type Client struct {
	rest *rest.Client
	repo string
}

// New sets up a client; repository is owner/name.
func New(c rest.Client, repository, token string) *Client {
	c.Header = http.Header{}
	if token != "" {
		c.Header.Set("Authorization", "token "+token)
	}
	c.Explain = explain
	return &Client{rest: &c, repo: "/repos/" + repository}
}

func explain(answer *http.Response, r *rest.Request) string {
	if answer.StatusCode == http.StatusUnauthorized {
		return "set GITEA_TOKEN to a valid token"
	}
	return "use a token with the scopes " + r.Needs + " of a user who may write to the repository"
}

type comment struct {
	ID   int64  `json:"id"`
	Body string `json:"body"`
	User struct {
		ID    int64  `json:"id"`
		Login string `json:"login"`
	} `json:"user"`
}

// actors are the users of a job's own token, which may not ask who it is.
var actors = []string{"gitea-actions", "forgejo-actions"}

const scopes = "write:issue, write:repository and read:user"

// Find returns the first comment of ours that begins with a marker. The id is 0
// if there is none. A comment of somebody else is none.
func (c *Client) Find(ctx context.Context, number int, marker string) (id int64, body string, err error) {
	own, err := c.self(ctx)
	if err != nil {
		return 0, "", err
	}
	r := &rest.Request{
		Method: http.MethodGet, Path: fmt.Sprintf("%s/issues/%d/comments", c.repo, number),
		What: fmt.Sprintf("comments of pull request %d", number), Needs: scopes,
	}
	// Gitea gives all comments at once; where a server has pages, it links them.
	found, err := rest.First(ctx, c.rest, r, func(one comment) bool {
		return strings.HasPrefix(one.Body, marker) && own(one)
	})
	return found.ID, found.Body, err
}

// self tells own comments. A token of a person that lacks the scope to ask is an
// error, since each run would write another comment.
func (c *Client) self(ctx context.Context) (func(comment) bool, error) {
	var user struct {
		ID int64 `json:"id"`
	}
	err := c.rest.Do(ctx, &rest.Request{Method: http.MethodGet, Path: "/user", What: "the user of the token", Needs: scopes}, &user)
	refused := rest.Answered(err, http.StatusForbidden, "") || rest.Answered(err, http.StatusNotFound, "")
	if refused && !rest.Answered(err, http.StatusForbidden, "scope") {
		return func(found comment) bool { return slices.Contains(actors, found.User.Login) }, nil
	}
	return func(found comment) bool { return found.User.ID == user.ID }, err
}

// Create writes a comment.
func (c *Client) Create(ctx context.Context, number int, body string) error {
	return c.rest.Do(ctx, &rest.Request{
		Method: http.MethodPost, Path: fmt.Sprintf("%s/issues/%d/comments", c.repo, number), Body: rest.Content{Body: body},
		What: fmt.Sprintf("comment on pull request %d", number), Needs: scopes,
	}, nil)
}

// Update replaces a comment.
func (c *Client) Update(ctx context.Context, number int, id int64, body string) error {
	return c.rest.Do(ctx, &rest.Request{
		Method: http.MethodPatch, Path: fmt.Sprintf("%s/issues/comments/%d", c.repo, id), Body: rest.Content{Body: body},
		What: fmt.Sprintf("comment on pull request %d", number), Needs: scopes,
	}, nil)
}

// Status sets a status of a commit.
func (c *Client) Status(ctx context.Context, commit string, s rest.Status) error {
	return c.rest.Do(ctx, &rest.Request{
		Method: http.MethodPost, Path: c.repo + "/statuses/" + commit, Body: s.Fields("context", maxDescription), Repeatable: true,
		What: "status of commit " + commit, Needs: scopes,
	}, nil)
}
