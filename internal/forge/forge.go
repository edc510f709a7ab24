// Package forge tells GitHub, GitLab, Gitea and Forgejo what Mizzen has to say
// of a pull request: one comment that is updated in place, and a status of the
// commit. Detect finds out where that is from the variables of a CI job;
// Publish says it.
//
// Tokens come from the environment, go to the forge that they are for, and into
// no text.
package forge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/forge/gitea"
	"mizzen.dev/mizzen/internal/forge/github"
	"mizzen.dev/mizzen/internal/forge/gitlab"
	"mizzen.dev/mizzen/internal/forge/rest"
)

// Name is the kind of a forge.
type Name string

// The forges. Forgejo is a Gitea to its clients.
const (
	GitHub Name = "github"
	GitLab Name = "gitlab"
	Gitea  Name = "gitea"
)

// StatusContext tells Mizzen's statuses from others.
const StatusContext = "mizzen/plan"

// maxComment is what GitHub takes, in characters.
const maxComment = 65_536

// Token is a secret: it is written as "***" wherever it is printed.
type Token string

// String hides the token.
func (Token) String() string { return "***" }

// GoString hides the token from %#v.
func (Token) GoString() string { return "***" }

// MarshalText hides the token from JSON and YAML.
func (Token) MarshalText() ([]byte, error) { return []byte("***"), nil }

// Target is where something is said.
type Target struct {
	Forge Name
	// API is the root of the REST API, such as https://api.github.com.
	API string
	// Repository is owner/name, of GitLab the path or the number of a project.
	Repository string
	// CommitRepository has the commit, if it is not Repository: a fork on GitLab.
	CommitRepository string
	// Number is that of the pull request; 0 if there is none.
	Number int
	// Commit is the head of the pull request, not a merge of it.
	Commit string
	// RunURL shows the job.
	RunURL string
	Token  Token
	// JobToken is GitLab's CI_JOB_TOKEN, which may do little.
	JobToken Token
}

// Comment is the one comment of a marker.
type Comment struct {
	// Marker is what Body begins with: an HTML comment, which is not seen.
	Marker string
	// Body is markdown of at most 65,536 characters. Nothing is written if it is
	// empty.
	Body string
}

// State is what a Status says.
type State = rest.State

// The states of a Status.
const (
	Pending = rest.Pending
	Success = rest.Success
	Failure = rest.Failure
	Error   = rest.Error
)

// Status is what the forge shows beside the commit. An empty Context is
// StatusContext, an empty URL is that of the job, and nothing is set if State
// is empty.
type Status = rest.Status

// Publisher publishes; its zero value is ready.
type Publisher struct {
	// Transport is used instead of http.DefaultTransport, if it is set.
	Transport http.RoundTripper
	// Wait waits before another attempt; nil waits by the clock.
	Wait func(ctx context.Context, d time.Duration) error
}

// client is what each forge can do.
type client interface {
	Find(ctx context.Context, number int, marker string) (id int64, body string, err error)
	Create(ctx context.Context, number int, body string) error
	Update(ctx context.Context, number int, id int64, body string) error
	Status(ctx context.Context, commit string, s Status) error
}

// Publish writes the comment, or updates the one that has its marker, and sets
// the status. One does not wait for the success of the other; the error joins
// both. It fails with Kind Forbidden and the missing permission, NotFound,
// Invalid, TooLarge, Unreachable or Timeout.
func Publish(ctx context.Context, t Target, c Comment, s Status) error {
	return (&Publisher{}).Publish(ctx, t, c, s)
}

// Publish is Publish with the Publisher's transport and clock.
func (p *Publisher) Publish(ctx context.Context, t Target, c Comment, s Status) error {
	forge, err := p.client(t)
	if err != nil {
		return err
	}
	var commented, set error
	if c.Body != "" {
		commented = comment(ctx, forge, t, c)
	}
	if s.State != "" {
		set = status(ctx, forge, t, s)
	}
	return errors.Join(commented, set)
}

func (p *Publisher) client(t Target) (client, error) {
	c := rest.Client{Base: t.API, Transport: p.Transport, Wait: p.Wait}
	if t.Token == "" && t.JobToken == "" {
		return nil, &mizzen.Error{
			Kind: mizzen.Forbidden, Object: string(t.Forge), Err: errors.New("there is no token"),
			Remedy: "set " + strings.ToUpper(string(t.Forge)) + "_TOKEN",
		}
	}
	switch t.Forge {
	case GitHub:
		return github.New(c, t.Repository, string(t.Token)), nil
	case GitLab:
		commits := t.CommitRepository
		if commits == "" {
			commits = t.Repository
		}
		return gitlab.New(c, t.Repository, commits, string(t.Token), string(t.JobToken)), nil
	case Gitea:
		return gitea.New(c, t.Repository, string(t.Token)), nil
	}
	return nil, &mizzen.Error{
		Kind: mizzen.Invalid, Object: fmt.Sprintf("forge %q", t.Forge), Err: errors.New("is not known"),
		Remedy: "use github, gitlab or gitea",
	}
}

// checkComment refuses what the forge would refuse, or could not find again.
func checkComment(t Target, c Comment) error {
	switch {
	case t.Number <= 0:
		return &mizzen.Error{
			Kind: mizzen.NotFound, Object: t.Repository, Err: errors.New("there is no pull request to comment on"),
			Remedy: "run the job for pull requests",
		}
	case c.Marker == "" || !strings.HasPrefix(c.Body, c.Marker):
		return &mizzen.Error{Kind: mizzen.Internal, Object: "comment", Err: errors.New("does not begin with its marker")}
	case utf8.RuneCountInString(c.Body) > maxComment:
		return &mizzen.Error{
			Kind: mizzen.TooLarge, Object: "comment", Err: fmt.Errorf("has more than %d characters", maxComment),
			Remedy: "shorten it",
		}
	}
	return nil
}

// comment finds the comment and writes or updates it. After a request whose
// fate is not known it looks again, since a second comment would be wrong.
func comment(ctx context.Context, forge client, t Target, c Comment) error {
	if err := checkComment(t, c); err != nil {
		return err
	}
	const tries = 3
	var failed error
	for range tries {
		id, body, err := forge.Find(ctx, t.Number, c.Marker)
		switch {
		case err != nil:
			return errors.Join(failed, err)
		case id != 0 && body == c.Body:
			return nil
		case id != 0:
			return forge.Update(ctx, t.Number, id, c.Body)
		}
		failed = forge.Create(ctx, t.Number, c.Body)
		if kind := mizzen.KindOf(failed); kind != mizzen.Unreachable && kind != mizzen.Timeout {
			return failed
		}
	}
	return failed
}

func status(ctx context.Context, forge client, t Target, s Status) error {
	if !isCommit(t.Commit) {
		return &mizzen.Error{
			Kind: mizzen.NotFound, Object: t.Repository, Err: errors.New("the commit is not known"),
			Remedy: "run the job for pull requests or pushes",
		}
	}
	if s.Context == "" {
		s.Context = StatusContext
	}
	if s.URL == "" {
		s.URL = t.RunURL
	}
	return forge.Status(ctx, t.Commit, s)
}

// isCommit keeps what is no object id out of a path.
func isCommit(s string) bool {
	return len(s) >= 40 && len(s) <= 64 && strings.Trim(s, "0123456789abcdef") == ""
}
