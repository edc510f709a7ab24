// Package github is a small client of GitHub's REST API: comments of a pull
// request and statuses of a commit.
// https://docs.github.com/rest/issues/comments and
// https://docs.github.com/rest/commits/statuses
package github

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"unicode"

	"mizzen.dev/mizzen/internal/forge/rest"
)

// maxDescription is what a status takes, in characters.
const maxDescription = 140

// Client speaks for one repository.
type Client struct {
	rest *rest.Client
	repo string
}

// New sets up a client; repository is owner/name, and c has the address of the
// API alone.
func New(c rest.Client, repository, token string) *Client {
	c.Header = http.Header{
		"Accept":               {"application/vnd.github+json"},
		"X-Github-Api-Version": {"2022-11-28"},
	}
	if token != "" {
		c.Header.Set("Authorization", "Bearer "+token)
	}
	c.Explain = explain
	return &Client{rest: &c, repo: "/repos/" + repository}
}

func explain(answer *http.Response, r *rest.Request) string {
	if answer.StatusCode == http.StatusUnauthorized {
		return "set GITHUB_TOKEN to a valid token"
	}
	text := "give the job `permissions: " + r.Needs + "`"
	if accepted := strings.Map(printable, answer.Header.Get("X-Accepted-Github-Permissions")); accepted != "" {
		text += " (GitHub asks for " + rest.Cut(accepted, 100) + ")"
	}
	return text + "; the token of a pull request from a fork may only read"
}

func printable(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return -1
}

type comment struct {
	ID   int64  `json:"id"`
	Body string `json:"body"`
	User struct {
		Login string `json:"login"`
		Type  string `json:"type"`
	} `json:"user"`
}

// Find returns the first comment of ours that begins with a marker. The id is 0
// if there is none. A comment of somebody else is none, whatever it begins with:
// who wrote it could change it after us.
func (c *Client) Find(ctx context.Context, number int, marker string) (id int64, body string, err error) {
	own, err := c.self(ctx)
	if err != nil {
		return 0, "", err
	}
	r := &rest.Request{
		Method: http.MethodGet, Path: fmt.Sprintf("%s/issues/%d/comments?per_page=100", c.repo, number),
		What: fmt.Sprintf("comments of pull request %d", number), Needs: "pull-requests: write",
	}
	found, err := rest.First(ctx, c.rest, r, func(one comment) bool {
		return strings.HasPrefix(one.Body, marker) && own(one)
	})
	return found.ID, found.Body, err
}

// self tells own comments. A token of a job or an app belongs to no user: GitHub
// answers 403, and the comments are those of bots.
func (c *Client) self(ctx context.Context) (func(comment) bool, error) {
	var user struct {
		Login string `json:"login"`
	}
	err := c.rest.Do(ctx, &rest.Request{Method: http.MethodGet, Path: "/user", What: "the user of the token"}, &user)
	if rest.Answered(err, http.StatusForbidden, "") {
		return func(found comment) bool { return found.User.Type == "Bot" }, nil
	}
	return func(found comment) bool { return strings.EqualFold(found.User.Login, user.Login) }, err
}

// Create writes a comment.
func (c *Client) Create(ctx context.Context, number int, body string) error {
	return c.rest.Do(ctx, &rest.Request{
		Method: http.MethodPost, Path: fmt.Sprintf("%s/issues/%d/comments", c.repo, number), Body: rest.Content{Body: body},
		What: fmt.Sprintf("comment on pull request %d", number), Needs: "pull-requests: write",
	}, nil)
}

// Update replaces a comment.
func (c *Client) Update(ctx context.Context, number int, id int64, body string) error {
	return c.rest.Do(ctx, &rest.Request{
		Method: http.MethodPatch, Path: fmt.Sprintf("%s/issues/comments/%d", c.repo, id), Body: rest.Content{Body: body},
		What: fmt.Sprintf("comment on pull request %d", number), Needs: "pull-requests: write",
	}, nil)
}

// Status sets a status of a commit.
func (c *Client) Status(ctx context.Context, commit string, s rest.Status) error {
	return c.rest.Do(ctx, &rest.Request{
		Method: http.MethodPost, Path: c.repo + "/statuses/" + commit, Body: s.Fields("context", maxDescription), Repeatable: true,
		What: "status of commit " + commit, Needs: "statuses: write",
	}, nil)
}
