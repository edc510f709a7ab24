package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// maxOutput bounds what is read of a command's answer, in bytes.
	maxOutput = 64 << 20
	// maxComplaint bounds what is kept of a command's standard error.
	maxComplaint = 16 << 10
)

var errTooMuchOutput = errors.New("the git command answers with more than fits")

// setting is an entry of Git's configuration.
type setting struct{ key, value string }

// isolation is the configuration of every git command that reads what
// somebody else wrote: no hook, no helper program, no protocol but those we
// name, bounded memory, no work in the background.
func isolation() []setting {
	return []setting{
		{"core.hooksPath", "/dev/null"},
		{"core.fsmonitor", "false"},
		{"core.askPass", ""},
		{"core.gitProxy", ""},
		{"core.bigFileThreshold", "16m"},
		{"core.compression", "1"},
		{"credential.helper", ""},
		{"protocol.allow", "never"},
		{"protocol.https.allow", "always"},
		{"protocol.http.allow", "always"},
		{"protocol.ssh.allow", "always"},
		{"protocol.version", "2"},
		{"http.followRedirects", "initial"},
		{"http.lowSpeedLimit", "1"},
		{"http.lowSpeedTime", "30"},
		{"submodule.recurse", "false"},
		{"fetch.recurseSubmodules", "false"},
		{"fetch.writeCommitGraph", "false"},
		{"transfer.bundleURI", "false"},
		{"transfer.fsckObjects", "true"},
		{"gc.autoDetach", "false"},
		{"maintenance.auto", "false"},
		{"pack.threads", "1"},
		{"pack.windowMemory", "64m"},
		{"safe.bareRepository", "all"},
	}
}

// tolerated are defects that old histories have and that change nothing in
// what we read: dates, names and modes that Git itself once wrote, and
// submodule settings, which we never follow.
var tolerated = []string{
	"badTimezone", "badDate", "badDateOverflow", "badName", "badEmail",
	"missingEmail", "missingNameBeforeEmail", "missingSpaceBeforeDate",
	"missingSpaceBeforeEmail", "missingTaggerEntry", "zeroPaddedDate",
	"zeroPaddedFilemode", "badFilemode", "badTagName", "missingTagEntry",
	"gitmodulesParse", "gitmodulesUrl", "gitmodulesPath", "gitmodulesName",
	"gitmodulesBlob", "gitmodulesMissing", "gitmodulesSymlink", "gitmodulesUpdate",
}

// isolatedEnviron is the environment of those commands. Of our own
// environment only what a host needs to reach the outside is passed on.
func isolatedEnviron() []string {
	env := []string{
		"LC_ALL=C", "LANGUAGE=C", "HOME=/dev/null", "XDG_CONFIG_HOME=/dev/null",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_ATTR_NOSYSTEM=1",
		"GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=", "SSH_ASKPASS=", "SSH_ASKPASS_REQUIRE=never",
		"GIT_NO_REPLACE_OBJECTS=1", "GIT_NO_LAZY_FETCH=1", "GIT_OPTIONAL_LOCKS=0",
	}
	for _, name := range []string{
		"PATH", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
		"http_proxy", "https_proxy", "all_proxy", "no_proxy",
	} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// configEnviron passes settings by the environment: they win over every file,
// and other users cannot see them in the list of processes.
func configEnviron(settings []setting) []string {
	env := make([]string, 0, 1+2*len(settings))
	env = append(env, "GIT_CONFIG_COUNT="+strconv.Itoa(len(settings)))
	for i, s := range settings {
		n := strconv.Itoa(i)
		env = append(env, "GIT_CONFIG_KEY_"+n+"="+s.key, "GIT_CONFIG_VALUE_"+n+"="+s.value)
	}
	return env
}

// runner starts the git command in one repository.
type runner struct {
	// git is the command's path.
	git string
	// dir is the repository (GIT_DIR), or the directory to start from if
	// gitDir is unset.
	dir      string
	discover bool
	env      []string
	config   []setting
}

// call is one run of the git command.
type call struct {
	args   []string
	stdin  []byte
	env    []string
	config []setting
	// hold is inherited by the command and all that it starts, so that a lock
	// on it lasts as long as they do, even if we are killed.
	hold *os.File
}

// commandError is a git command that ran and failed.
type commandError struct {
	verb   string
	code   int
	stderr string
}

func (e *commandError) Error() string {
	if cause := salient(e.stderr); cause != "" {
		return fmt.Sprintf("git %s: %s", e.verb, cause)
	}
	return fmt.Sprintf("git %s: exit status %d", e.verb, e.code)
}

// command prepares a process in a group of its own, so that ending it ends its
// children too.
func (r *runner) command(ctx context.Context, c call) *exec.Cmd {
	cmd := exec.CommandContext(ctx, r.git, c.args...)
	settings := append(append([]setting{}, r.config...), c.config...)
	cmd.Env = append(append(append([]string{}, r.env...), configEnviron(settings)...), c.env...)
	if r.discover {
		cmd.Dir = r.dir
	} else {
		cmd.Env = append(cmd.Env, "GIT_DIR="+r.dir)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return killGroup(cmd) }
	cmd.WaitDelay = 5 * time.Second
	if c.hold != nil {
		cmd.ExtraFiles = []*os.File{c.hold}
	}
	return cmd
}

// killGroup ends a command and everything that it started.
func killGroup(cmd *exec.Cmd) error {
	err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

// run returns the standard output. It fails with the context's cause if that
// ended the command, with errTooMuchOutput, or with a commandError.
func (r *runner) run(ctx context.Context, c call) ([]byte, error) {
	stdout, _, err := r.execute(ctx, c)
	return stdout, err
}

// complaint is run for a command whose standard error is the answer.
func (r *runner) complaint(ctx context.Context, c call) (string, error) {
	_, stderr, err := r.execute(ctx, c)
	return stderr, err
}

func (r *runner) execute(ctx context.Context, c call) ([]byte, string, error) {
	cmd := r.command(ctx, c)
	stdout, stderr := &head{limit: maxOutput}, &tail{limit: maxComplaint}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	if c.stdin != nil {
		cmd.Stdin = bytes.NewReader(c.stdin)
	}
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return stdout.b, stderr.String(), nil
	case ctx.Err() != nil:
		return nil, "", context.Cause(ctx)
	case stdout.full:
		return nil, "", errTooMuchOutput
	case errors.As(err, &exit):
		return stdout.b, "", &commandError{verb: c.args[0], code: exit.ExitCode(), stderr: stderr.String()}
	}
	return nil, "", fmt.Errorf("start git: %w", err)
}

// head keeps what is written up to its limit, and refuses more.
type head struct {
	b     []byte
	limit int
	full  bool
}

func (h *head) Write(p []byte) (int, error) {
	if len(h.b)+len(p) > h.limit {
		h.full = true
		return 0, errTooMuchOutput
	}
	h.b = append(h.b, p...)
	return len(p), nil
}

// tail keeps the end of what is written: a command says last why it failed.
type tail struct {
	b     []byte
	limit int
}

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if len(t.b) > 2*t.limit {
		t.b = append(t.b[:0], t.b[len(t.b)-t.limit:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	b := t.b
	if len(b) > t.limit {
		b = b[len(b)-t.limit:]
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}
