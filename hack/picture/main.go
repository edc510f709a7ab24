// Command picture draws docs/picture.svg: a terminal in which `make up`, a plan
// and a push really ran. Run it in the root of the checkout; it has a lab of its
// own and ends it.
package main

import (
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

func main() {
	if err := draw("docs/picture.svg"); err != nil {
		log.Fatal(err)
	}
}

func draw(file string) error {
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "picture-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	s := &session{root: root, dir: root, lab: filepath.Join(dir, "lab"), demo: filepath.Join(dir, "demo")}
	defer func() { _, _ = s.run("lab down --purge", false) }()
	lines, err := s.play()
	if err != nil {
		return err
	}
	return os.WriteFile(file, []byte(svg(lines)), 0o644)
}

// line is one line of the picture.
type line struct {
	text    string
	command bool
}

// session is a user's.
type session struct {
	root, dir, lab, demo string
	shown                []line
}

// play does what the picture shows.
func (s *session) play() ([]line, error) {
	for _, step := range []func() error{s.up, s.plan, s.push} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return s.shown[:len(s.shown)-1], nil
}

func (s *session) up() error {
	out, err := s.run("make -s up", true)
	s.show("make up", out, func(text string) bool {
		return strings.HasPrefix(text, "==> ") || strings.HasPrefix(text, "The demo is synced")
	})
	return err
}

func (s *session) plan() error {
	if _, err := s.run("git clone -q $(lab demo) "+s.demo, true); err != nil {
		return err
	}
	s.dir = s.demo
	const edit = "sed -i 's/weight: 90/weight: 50/; s/weight: 10/weight: 50/' mesh/reviews.yaml"
	if _, err := s.run(edit, true); err != nil {
		return err
	}
	s.shown = append(s.shown, line{edit, true})
	const ask = "mizzen plan --base HEAD"
	out, err := s.run(ask, false)
	aside := regexp.MustCompile(`^comparing |^working tree |^$`)
	s.show(ask, out, func(text string) bool { return !aside.MatchString(text) })
	return err
}

func (s *session) push() error {
	const push = "git commit -qam 'Split reviews evenly' && git push -q"
	if _, err := s.run(push, true); err != nil {
		return err
	}
	s.shown = append(s.shown, line{push, true})
	out, err := s.await("mizzen history mesh", "Split reviews evenly")
	lines := 0
	s.show("mizzen history mesh", out, func(string) bool { lines++; return lines <= 3 })
	return err
}

// show adds a command and what is worth seeing of its output.
func (s *session) show(command, output string, keep func(string) bool) {
	s.shown = append(s.shown, line{command, true})
	for text := range strings.Lines(output) {
		if text = strings.TrimRight(text, "\n"); keep(text) {
			s.shown = append(s.shown, line{text: s.generic(text)})
		}
	}
	s.shown = append(s.shown, line{})
}

// await repeats a query until it shows what is wanted.
func (s *session) await(command, want string) (string, error) {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if out, err := s.run(command, true); err == nil && strings.Contains(out, want) {
			return out, nil
		}
	}
	return "", fmt.Errorf("%s never showed %q", command, want)
}

// run executes a command as the user. With must, an exit code other than 0 is
// an error.
func (s *session) run(command string, must bool) (string, error) {
	cmd := exec.Command("sh", "-c", command)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "MIZZEN_LAB="+s.lab, "KUBECONFIG="+filepath.Join(s.lab, "kubeconfig"), "NO_COLOR=1",
		"PATH="+filepath.Join(s.root, "bin")+string(os.PathListSeparator)+os.Getenv("PATH"),
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.test", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.test")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && (must || !errors.As(err, &exit)) {
		return "", fmt.Errorf("%s: %w\n%s", command, err, out)
	}
	return string(out), nil
}

// generic replaces the places of this run.
func (s *session) generic(text string) string {
	return strings.NewReplacer(s.lab, "/home/you/mizzen/.lab", s.demo, "/tmp/demo", s.root, "/home/you/mizzen").Replace(text)
}
