package gitserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

// zero is the object id of a reference that does not exist.
const zero = "0000000000000000000000000000000000000000"

// maxCommits is how many commits GitHub lists in one event at most.
const maxCommits = 2048

// The push event of GitHub, as far as receivers use it
// (https://docs.github.com/en/webhooks/webhook-events-and-payloads#push).
type (
	pushEvent struct {
		Ref        string          `json:"ref"`
		Before     string          `json:"before"`
		After      string          `json:"after"`
		Created    bool            `json:"created"`
		Deleted    bool            `json:"deleted"`
		Forced     bool            `json:"forced"`
		Compare    string          `json:"compare"`
		Commits    []eventCommit   `json:"commits"`
		HeadCommit *eventCommit    `json:"head_commit"`
		Repository eventRepository `json:"repository"`
		Pusher     eventPerson     `json:"pusher"`
		Sender     eventAccount    `json:"sender"`
	}
	eventCommit struct {
		ID        string      `json:"id"`
		TreeID    string      `json:"tree_id"`
		Distinct  bool        `json:"distinct"`
		Message   string      `json:"message"`
		Timestamp string      `json:"timestamp"`
		URL       string      `json:"url"`
		Author    eventPerson `json:"author"`
		Committer eventPerson `json:"committer"`
		Added     []string    `json:"added"`
		Removed   []string    `json:"removed"`
		Modified  []string    `json:"modified"`
	}
	eventPerson struct {
		Name  string `json:"name"`
		Email string `json:"email"`
	}
	eventAccount struct {
		Login string `json:"login"`
	}
	eventRepository struct {
		ID            uint32       `json:"id"`
		Name          string       `json:"name"`
		FullName      string       `json:"full_name"`
		Private       bool         `json:"private"`
		Owner         eventAccount `json:"owner"`
		HTMLURL       string       `json:"html_url"`
		CloneURL      string       `json:"clone_url"`
		GitURL        string       `json:"git_url"`
		DefaultBranch string       `json:"default_branch"`
		MasterBranch  string       `json:"master_branch"`
	}
)

// repository is one that was pushed to.
type repository struct {
	name, path string
	// url is where people would look at it; Git clients add ".git".
	url string
}

// references returns object ids by full name.
func references(ctx context.Context, path string) (map[string]string, error) {
	out, err := git(ctx, path, nil, "for-each-ref", "--format=%(objectname) %(refname)")
	if err != nil {
		return nil, err
	}
	refs := map[string]string{}
	for line := range strings.Lines(out) {
		id, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		refs[name] = id
	}
	return refs, nil
}

// pushEvents returns an event as JSON for each reference that differs from
// before, in alphabetical order.
func pushEvents(ctx context.Context, r repository, before map[string]string, user string) ([][]byte, error) {
	after, err := references(ctx, r.path)
	if err != nil {
		return nil, err
	}
	var changed []string
	for name, id := range after {
		if before[name] != id {
			changed = append(changed, name)
		}
	}
	for name := range before {
		if after[name] == "" {
			changed = append(changed, name)
		}
	}
	slices.Sort(changed)
	var events [][]byte
	for _, ref := range changed {
		e := pushEvent{
			Ref: ref, Before: or(before[ref], zero), After: or(after[ref], zero),
			Repository: r.describe(),
			Pusher:     eventPerson{Name: user, Email: user + "@lab.test"},
			Sender:     eventAccount{Login: user},
		}
		if err := r.complete(ctx, &e, before); err != nil {
			return nil, err
		}
		data, err := json.Marshal(e)
		if err != nil {
			return nil, fmt.Errorf("push event: %w", err)
		}
		events = append(events, data)
	}
	return events, nil
}

func or(id, otherwise string) string {
	if id == "" {
		return otherwise
	}
	return id
}

func (r repository) describe() eventRepository {
	id := fnv.New32a()
	id.Write([]byte(r.name))
	return eventRepository{
		ID: id.Sum32(), Name: r.name, FullName: "lab/" + r.name, Owner: eventAccount{Login: "lab"},
		HTMLURL: r.url, CloneURL: r.url + ".git", GitURL: r.url + ".git",
		DefaultBranch: Branch, MasterBranch: Branch,
	}
}

// complete fills in the commits and how the reference moved.
func (r repository) complete(ctx context.Context, e *pushEvent, before map[string]string) error {
	e.Created, e.Deleted = e.Before == zero, e.After == zero
	e.Compare = r.url + "/compare/" + e.Before[:12] + "..." + e.After[:12]
	e.Commits = []eventCommit{}
	if e.Deleted {
		return nil
	}
	// A new reference announces what no other one had.
	selection := []string{e.After, "--not"}
	for _, id := range before {
		selection = append(selection, id)
	}
	if !e.Created {
		selection = []string{e.After, "--not", e.Before}
		_, err := git(ctx, r.path, nil, "merge-base", "--is-ancestor", e.Before, e.After)
		var exit *exec.ExitError
		if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
			return err
		}
		e.Forced = err != nil
	}
	commits, err := r.commits(ctx, append([]string{"--max-count=" + strconv.Itoa(maxCommits)}, selection...))
	if err != nil {
		return err
	}
	e.Commits = append(e.Commits, commits...)
	head, err := r.commits(ctx, []string{"--max-count=1", e.After})
	if err != nil {
		return err
	}
	if len(head) == 1 {
		e.HeadCommit = &head[0]
	}
	return nil
}

// commitFormat starts each commit with a byte that Git allows in no text, and
// separates its fields likewise.
const commitFormat = "--format=%x1e%H%x1f%T%x1f%cI%x1f%an%x1f%ae%x1f%cn%x1f%ce%x1f%B%x1f"

// commits returns the selected commits, oldest first.
func (r repository) commits(ctx context.Context, selection []string) ([]eventCommit, error) {
	args := append([]string{"-c", "core.quotePath=false", "log", "--reverse", "--no-renames", "--name-status", commitFormat}, selection...)
	out, err := git(ctx, r.path, nil, append(args, "--")...)
	if err != nil {
		return nil, err
	}
	var commits []eventCommit
	for record := range strings.SplitSeq(out, "\x1e") {
		f := strings.Split(record, "\x1f")
		if len(f) != 9 {
			continue
		}
		c := eventCommit{
			ID: f[0], TreeID: f[1], Distinct: true, Timestamp: f[2], URL: r.url + "/commit/" + f[0],
			Author: eventPerson{f[3], f[4]}, Committer: eventPerson{f[5], f[6]},
			Message: strings.TrimRight(f[7], "\n"), Added: []string{}, Removed: []string{}, Modified: []string{},
		}
		for line := range strings.Lines(f[8]) {
			c.note(strings.TrimRight(line, "\n"))
		}
		commits = append(commits, c)
	}
	return commits, nil
}

// note adds a line of --name-status: a letter, a tab, a path.
func (c *eventCommit) note(line string) {
	letter, path, ok := strings.Cut(line, "\t")
	if !ok {
		return
	}
	// Git quotes paths with control characters or quotes as C does.
	if plain, err := strconv.Unquote(path); err == nil {
		path = plain
	}
	switch letter {
	case "A":
		c.Added = append(c.Added, path)
	case "D":
		c.Removed = append(c.Removed, path)
	default:
		c.Modified = append(c.Modified, path)
	}
}
