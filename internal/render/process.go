package render

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"

	"mizzen.dev/mizzen/internal/render/wire"
	"mizzen.dev/mizzen/internal/sandbox"
)

// maxFrameBytes bounds what the parent reads from a worker at once.
const maxFrameBytes = 1 << 20

// maxStderrBytes is how much of the standard error of a worker is kept: the
// beginning, where a crash says why.
const maxStderrBytes = 2 << 10

// process is one worker process.
type process struct {
	cmd    *exec.Cmd
	conn   *wire.Conn
	pipes  []*os.File
	stderr stderrHead
	// exited is closed when the process has been waited for, so that nothing
	// of it is left.
	exited chan struct{}

	report sandbox.Report
	jobs   int
	usage  wire.Usage
	idle   *time.Timer
}

// startProcess starts a worker with an empty environment and nothing open but
// the three pipes.
func startProcess(command []string, setup wire.Setup) (*process, error) {
	arg, err := json.Marshal(setup)
	if err != nil {
		return nil, err
	}
	theirs, ours, err := openPipes()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(command[0], append(append([]string{}, command[1:]...), string(arg))...)
	cmd.Env = []string{}
	cmd.Dir = "/"
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs[0], theirs[1], theirs[2]
	// A group of its own: an interrupt from the terminal is for the parent,
	// which then decides.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = cmd.Start()
	closeAll(theirs)
	if err != nil {
		closeAll(ours)
		return nil, err
	}
	p := &process{
		cmd: cmd, pipes: ours[:2], exited: make(chan struct{}),
		conn: wire.NewConn(ours[1], ours[0], maxFrameBytes),
	}
	go p.attend(ours[2])
	return p, nil
}

// openPipes returns the ends of stdin, stdout and stderr of a child.
func openPipes() (theirs, ours []*os.File, err error) {
	for i := range 3 {
		r, w, err := os.Pipe()
		if err != nil {
			closeAll(theirs)
			closeAll(ours)
			return nil, nil, err
		}
		if i == 0 {
			theirs, ours = append(theirs, r), append(ours, w)
		} else {
			theirs, ours = append(theirs, w), append(ours, r)
		}
	}
	return theirs, ours, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close() // a pipe: nothing can be lost
	}
}

// attend drains standard error until the process ends, and reaps it.
func (p *process) attend(stderr *os.File) {
	defer close(p.exited)
	_, _ = io.Copy(&p.stderr, stderr) // ends with the process, whatever the error
	_ = stderr.Close()
	_ = p.cmd.Wait() // how it ended is in ProcessState
}

// kill ends the process at once. A worker has no children: starting a process
// is the last thing that a sandbox allows.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // the only error is that it has ended already
}

// end waits for the process after kill or EOF, and frees the pipes.
func (p *process) end() {
	p.kill()
	<-p.exited
	closeAll(p.pipes)
}

// greet waits for the worker to say that its sandbox is closed.
func (p *process) greet() error {
	kind, payload, err := p.conn.Read()
	if err != nil {
		return err
	}
	var g wire.Greeting
	if kind != wire.Hello || json.Unmarshal(payload, &g) != nil || json.Unmarshal(g.Sandbox, &p.report) != nil {
		return fmt.Errorf("%w: the worker does not greet", wire.ErrProtocol)
	}
	if g.Version != wire.Version {
		return fmt.Errorf("%w: the worker speaks version %d, not %d", wire.ErrProtocol, g.Version, wire.Version)
	}
	return nil
}

// failure is an error that the worker reports in due form, after which it can
// be used again.
type failure struct{ err error }

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// run gives the worker a job, answers its questions from the library, and
// returns the encoded output. Any error but a *failure means that the worker
// must be ended. heard is whether the worker said anything at all.
func (p *process) run(job []byte, lib *library, maxBytes int64) (raw []byte, heard bool, err error) {
	if err := p.conn.Send(wire.Job, job); err != nil {
		return nil, false, err
	}
	var out bytes.Buffer
	for {
		kind, payload, err := p.conn.Read()
		if err != nil {
			return nil, heard, err
		}
		heard = true
		switch kind {
		case wire.Ask:
			err = p.reply(payload, lib)
		case wire.Chunk:
			if int64(out.Len()+len(payload)) > maxBytes {
				err = fmt.Errorf("%w: more than %d bytes of output", wire.ErrProtocol, maxBytes)
			}
			out.Write(payload)
		case wire.Done:
			p.jobs++
			p.usage = wire.Usage{}
			return out.Bytes(), true, json.Unmarshal(payload, &p.usage)
		case wire.Failed:
			return nil, true, p.failed(payload)
		default:
			err = fmt.Errorf("%w: a frame of kind %q", wire.ErrProtocol, byte(kind))
		}
		if err != nil {
			return nil, true, err
		}
	}
}

func (p *process) reply(payload []byte, lib *library) error {
	q, err := wire.DecodeQuestion(payload)
	if err != nil {
		return err
	}
	data, seen, err := lib.answer(q)
	if err != nil {
		return err
	}
	return p.conn.SendAnswer(data, seen)
}

func (p *process) failed(payload []byte) error {
	var f wire.Failure
	if err := json.Unmarshal(payload, &f); err != nil {
		return fmt.Errorf("%w: %w", wire.ErrProtocol, err)
	}
	p.jobs++
	p.usage = f.Usage
	err := wire.DecodeError(f.Error)
	if errors.Is(err, wire.ErrProtocol) {
		return err
	}
	return &failure{err}
}

// stderrHead keeps the first bytes that are written to it. It is read only
// after the process has ended, but a late write must not race with that.
type stderrHead struct {
	mu   sync.Mutex
	head []byte
}

func (s *stderrHead) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if room := maxStderrBytes - len(s.head); room > 0 {
		s.head = append(s.head, b[:min(room, len(b))]...)
	}
	return len(b), nil
}

// String returns what was kept, without bytes that a terminal would obey.
func (s *stderrHead) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Map(func(r rune) rune {
		if r != '\n' && !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(strings.TrimSpace(string(s.head)), "?"))
}
