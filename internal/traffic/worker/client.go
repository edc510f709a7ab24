package worker

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"mizzen.dev/mizzen"
)

// Timeout bounds one job.
const Timeout = 2 * time.Minute

// memoryLimit is where a worker starts to collect garbage hard; what it may
// have at all is dataBytes.
const memoryLimit = "512MiB"

// Client asks a worker process, which it starts with the first job and keeps,
// since a warm one remembers the last mesh. It is safe for concurrent use; jobs
// wait for each other.
type Client struct {
	// Executable is the program to start with Command; empty means this one.
	Executable string
	// AllowUnsandboxed lets the worker run where it cannot be confined.
	AllowUnsandboxed bool

	mu      sync.Mutex
	process *process
}

type process struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	stderr tail
}

// Do asks for something and decodes the answer into result. An error of a job
// leaves the worker as it is; a worker that ends or takes longer than Timeout
// is replaced for the next job.
func (c *Client) Do(ctx context.Context, job Job, result any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.process == nil {
		p, err := c.start()
		if err != nil {
			return err
		}
		c.process = p
	}
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	// A blocked pipe knows no context: ending the process unblocks it.
	stop := context.AfterFunc(ctx, c.process.kill)
	a, err := c.process.ask(job)
	if !stop() || err != nil {
		p := c.process
		c.process = nil
		return p.ended(ctx, err)
	}
	if err := a.err(); err != nil {
		return err
	}
	return json.Unmarshal(a.Result, result)
}

// Close ends the worker, if there is one.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.process != nil {
		c.process.kill()
		_ = c.process.cmd.Wait() // it was killed: nothing else to learn
		c.process = nil
	}
}

func (c *Client) start() (*process, error) {
	executable := c.Executable
	if executable == "" {
		var err error
		if executable, err = os.Executable(); err != nil {
			return nil, err
		}
	}
	args := []string{Command}
	if c.AllowUnsandboxed {
		args = append(args, allowUnsandboxed)
	}
	p := &process{cmd: exec.Command(executable, args...)}
	// What a worker needs comes by pipe: no variable of ours is its business.
	p.cmd.Env = []string{"GOMEMLIMIT=" + memoryLimit}
	p.cmd.Stderr = &p.stderr
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a traffic worker: %w", err)
	}
	return p, nil
}

func (p *process) ask(job Job) (a answer, err error) {
	if err := write(p.in, job); err != nil {
		return a, err
	}
	return a, read(p.out, &a)
}

func (p *process) kill() { _ = p.cmd.Process.Kill() } // it may have ended already

// ended tells why a worker gave no answer.
func (p *process) ended(ctx context.Context, err error) error {
	p.kill()
	exit := p.cmd.Wait()
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return &mizzen.Error{
			Kind: mizzen.Timeout, Object: "traffic plan", Err: fmt.Errorf("istiod's code takes longer than %s", Timeout),
			Remedy: "plan fewer Applications at once",
		}
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return &mizzen.Error{
		Kind: mizzen.Internal, Object: "traffic plan", Err: fmt.Errorf("the worker ends: %w; %w; it said %q", err, exit, p.stderr.String()),
		Remedy: "report this with the objects",
	}
}

// tail keeps the last bytes of what a worker says on standard error.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const tailBytes = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if extra := len(t.b) - tailBytes; extra > 0 {
		t.b = bytes.Clone(t.b[extra:])
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.b))
}
