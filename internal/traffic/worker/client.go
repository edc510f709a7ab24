package worker

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"mizzen.dev/mizzen"
)

// Timeout bounds one job.
const Timeout = 2 * time.Minute

// memoryLimit is where a worker collects garbage hard (see collect), near what it
// may have at all (dataBytes): a limit below what a large mesh needs would have
// it do nothing else.
const memoryLimit = "3GiB"

// Client asks a worker process, which it starts with the first job and keeps,
// since a warm one remembers the last mesh. A job whose istiod has other Flags
// than the one before gets another process. It is safe for concurrent use; jobs
// wait for each other.
type Client struct {
	// Executable is the program to start with Command; empty means this one.
	Executable string
	// AllowUnsandboxed lets the worker run where it cannot be confined.
	AllowUnsandboxed bool
	// Idle is how long a worker may have nothing to do before it is ended: it is
	// as large as the meshes that it knows. 0 means until Close.
	Idle time.Duration
	// Starting is called before a worker is started, so that there is room for
	// it; it may be nil.
	Starting func()

	mu      sync.Mutex
	process *process
	// asked counts the jobs.
	asked uint64
}

type process struct {
	flags  Flags
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	stderr tail
}

// Do asks for something and decodes the answer into result. An error of a job
// leaves the worker as it is; a worker that ends or takes longer than Timeout
// is replaced for the next job.
func (c *Client) Do(ctx context.Context, job Job, result any) error {
	encoded, err := json.Marshal(job)
	if err != nil {
		return err
	}
	return c.do(ctx, job, encoded, result)
}

// do is Do with a job that is encoded.
func (c *Client) do(ctx context.Context, job Job, encoded []byte, result any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.wait()
	if err := c.prepare(job); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	// A blocked pipe knows no context: ending the process unblocks it.
	stop := context.AfterFunc(ctx, c.process.kill)
	a, err := c.process.ask(encoded)
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

// wait ends the worker when there is no other job for a while.
func (c *Client) wait() {
	c.asked++
	if c.Idle <= 0 || c.process == nil {
		return
	}
	asked := c.asked
	time.AfterFunc(c.Idle, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.asked == asked {
			c.stop()
		}
	})
}

// Close ends the worker, if there is one.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stop()
}

func (c *Client) stop() {
	if c.process != nil {
		c.process.kill()
		_ = c.process.cmd.Wait() // it was killed: nothing else to learn
		c.process = nil
	}
}

// prepare makes sure that there is a process with the flags of a job. One
// without objects is about a mesh that the process there is may remember.
func (c *Client) prepare(job Job) error {
	if c.process != nil && len(job.Both)+len(job.Before)+len(job.After) == 0 {
		return nil
	}
	flags := job.Flags()
	if c.process != nil && maps.Equal(c.process.flags, flags) {
		return nil
	}
	c.stop()
	if c.Starting != nil {
		c.Starting()
	}
	p, err := c.start(flags)
	c.process = p
	return err
}

func (c *Client) start(flags Flags) (*process, error) {
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
	p := &process{cmd: exec.Command(executable, args...), flags: flags}
	// What a worker needs comes by pipe: no variable of ours is its business,
	// but istiod's code takes its flags from there.
	p.cmd.Env = append([]string{"GOMEMLIMIT=" + memoryLimit}, flags.environ()...)
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

func (p *process) ask(job []byte) (a answer, err error) {
	if err := writeEncoded(p.in, job); err != nil {
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
