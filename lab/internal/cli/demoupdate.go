package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"time"

	"mizzen.dev/mizzen/lab/demo"
	"mizzen.dev/mizzen/lab/internal/gitserver"
	"mizzen.dev/mizzen/lab/internal/state"
)

// Of a repository that the user has changed, only what tells where it is
// follows the lab.
var (
	demoURL     = regexp.MustCompile(`http://127\.0\.0\.1:[0-9]+/` + demoRepository + `\.git`)
	demoNodes   = regexp.MustCompile(`(?m)^nodes: .*$`)
	demoTracing = regexp.MustCompile(`(?m)^tracing: .*$`)
)

// The files that say where the repository is; the second one has the settings.
const (
	demoBootstrap = "bootstrap.yaml"
	demoSettings  = "apps/values.yaml"
)

// demoUpdate makes the demo that was kept that of the lab which runs now.
type demoUpdate struct {
	root gitserver.Root
	base string
	at   demo.Place
	head string
	// laid is what was laid down when it was made, version what this lab would.
	laid    gitserver.Laid
	version string
}

// updateDemo lets the repository, which exists, follow the lab: its address and
// kind of nodes, tracing if it is said, and its version. What the user has
// committed is never touched.
func updateDemo(ctx context.Context, stderr io.Writer, dir state.Dir, tracing *bool) error {
	u := demoUpdate{root: gitserver.Root(dir.Git())}
	if err := u.look(ctx, dir, tracing); err != nil {
		return err
	}
	own, err := u.changedByUser(ctx)
	if err != nil {
		return err
	}
	if !own {
		return u.layDown(ctx, stderr)
	}
	if u.laid.Version != u.version {
		fmt.Fprintf(stderr, "lab: the demo in %s is of another version of this lab and has commits of yours, so it stays as it is, Istio's charts too. "+
			"For a fresh one: push elsewhere what you want to keep, then bin/lab down --purge && make up\n", dir.Git())
	}
	return u.follow(ctx)
}

// look reads what is there and what is wanted.
func (u *demoUpdate) look(ctx context.Context, dir state.Dir, tracing *bool) error {
	status, err := dir.ReadStatus()
	if err != nil {
		return err
	}
	u.base = status.URLs["git"]
	if u.head, err = u.root.Head(ctx, demoRepository); err != nil {
		return fmt.Errorf("the demo in %s has no branch %s: push one, or `lab down --purge`: %w", dir.Git(), gitserver.Branch, err)
	}
	settings, err := u.root.Settings(demoRepository)
	if err != nil {
		return err
	}
	u.laid = settings.Laid
	if u.version, err = demo.Version(); err != nil {
		return err
	}
	if tracing == nil { // it stays
		values, err := u.root.File(ctx, demoRepository, u.head, demoSettings)
		now := err == nil && bytes.Contains(values, []byte("\ntracing: true\n"))
		tracing = &now
	}
	u.at, err = placeOfDemo(dir, *tracing)
	return err
}

// changedByUser reports whether the files are others than those that were laid
// down. What was committed and taken back does not count.
func (u *demoUpdate) changedByUser(ctx context.Context) (bool, error) {
	if u.laid.Commit == "" { // by a lab that did not note it
		ours, err := u.root.OnlyBy(ctx, demoRepository, u.head, demo.Author)
		return !ours, err
	}
	same, err := u.root.SameFiles(ctx, demoRepository, u.laid.Commit, u.head)
	return !same, err
}

// layDown adds a commit with the files of this lab, unless they are there.
func (u *demoUpdate) layDown(ctx context.Context, stderr io.Writer) error {
	files, err := os.MkdirTemp("", "lab-demo-")
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer func() { _ = os.RemoveAll(files) }()
	if err := demo.Write(files, u.at); err != nil {
		return err
	}
	message := "Follow the lab that runs now"
	if u.laid.Version != u.version {
		message = "Bring the demo to the version of this lab"
	}
	id, err := u.push(ctx, gitserver.Commit{Dir: files, Message: message})
	if err != nil {
		return err
	}
	if id != u.head && u.laid.Version != u.version {
		fmt.Fprintf(stderr, "lab: the demo was of another version; commit %.7s brings it to that of this lab\n", id)
	}
	return u.root.SetLaid(demoRepository, gitserver.Laid{Commit: id, Version: u.version})
}

// follow changes no more than what tells where the repository is.
func (u *demoUpdate) follow(ctx context.Context) error {
	edits := map[string][]byte{}
	for _, file := range []string{demoBootstrap, demoSettings} {
		text, err := u.root.File(ctx, demoRepository, u.head, file)
		if err != nil {
			return fmt.Errorf("the demo lacks %s, where its address stands; put it back: %w", file, err)
		}
		edits[file] = demoURL.ReplaceAllLiteral(text, []byte(u.at.URL))
	}
	nodes := "kwok"
	if u.at.Live {
		nodes = "live"
	}
	values := demoNodes.ReplaceAllLiteral(edits[demoSettings], []byte("nodes: "+nodes))
	edits[demoSettings] = demoTracing.ReplaceAllLiteral(values, []byte("tracing: "+strconv.FormatBool(u.at.Tracing)))
	_, err := u.push(ctx, gitserver.Commit{Edits: edits, Message: "Follow the lab that runs now"})
	return err
}

// push adds a commit, unless it would change nothing, and returns where the
// branch is then.
func (u *demoUpdate) push(ctx context.Context, c gitserver.Commit) (string, error) {
	c.Author, c.Date = demo.Author, time.Now()
	id, err := u.root.Commit(ctx, demoRepository, u.head, c)
	if err != nil {
		return "", err
	}
	same, err := u.root.SameFiles(ctx, demoRepository, u.head, id)
	if err != nil || same {
		return u.head, err
	}
	return id, u.root.Push(ctx, demoRepository, u.base, id)
}
