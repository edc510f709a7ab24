package git

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

// readTimeout bounds one answer of `git cat-file`. It is only met by a disk
// that hangs.
const readTimeout = 30 * time.Second

var (
	errNoObject  = errors.New("no such object")
	errAmbiguous = errors.New("more than one object begins like that")
	// errTooBig is for objects beyond the limit of a request.
	errTooBig = errors.New("object is too big")
)

// catFile asks one long-lived `git cat-file --batch-command` process. It is
// started when it is first needed, again after it died, and ended when it was
// idle for a while.
type catFile struct {
	run  *runner
	idle time.Duration

	mu      sync.Mutex
	closed  bool
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
	stderr  *tail
	retire  *time.Timer
	lastUse time.Time
}

// object is an object's header.
type object struct {
	id   string // in hex
	kind string
	size int64
}

// info looks an object up by any name that Git understands; the caller makes
// sure that it is one line.
func (c *catFile) info(name string) (object, error) {
	var o object
	err := c.ask(func() (err error) {
		o, err = c.request("info", name)
		return err
	})
	return o, err
}

// contents reads an object of at most limit bytes. The caller has asked for
// its size already, so that a bigger one is not even begun.
func (c *catFile) contents(id string, limit int64) (object, []byte, error) {
	var o object
	var data []byte
	err := c.ask(func() (err error) {
		if o, err = c.request("contents", id); err != nil {
			return err
		}
		if o.size > limit {
			c.end()
			return errTooBig
		}
		data = make([]byte, o.size)
		if _, err = io.ReadFull(c.out, data); err == nil {
			_, err = c.out.Discard(1)
		}
		return err
	})
	return o, data, err
}

// ask carries out one exchange. An exchange that breaks down, as when somebody
// killed the process, is repeated once with a new process.
func (c *catFile) ask(exchange func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errClosed
	}
	var err error
	for range 2 {
		if err = c.start(); err != nil {
			return err
		}
		cmd := c.cmd
		watchdog := time.AfterFunc(readTimeout, func() { _ = killGroup(cmd) })
		err = exchange()
		watchdog.Stop()
		if err == nil || errors.Is(err, errNoObject) || errors.Is(err, errAmbiguous) || errors.Is(err, errTooBig) {
			return err
		}
		c.end()
		err = fmt.Errorf("read objects: %w (%s)", err, salient(c.stderr.String()))
	}
	return err
}

// request sends a command and reads the header of the answer.
func (c *catFile) request(command, name string) (object, error) {
	if _, err := io.WriteString(c.in, command+" "+name+"\n"); err != nil {
		return object{}, err
	}
	line, err := c.out.ReadString('\n')
	if err != nil {
		return object{}, err
	}
	line = strings.TrimSuffix(line, "\n")
	switch {
	case strings.HasSuffix(line, " missing"):
		return object{}, errNoObject
	case strings.HasSuffix(line, " ambiguous"):
		return object{}, errAmbiguous
	}
	fields := strings.Split(line, " ")
	if len(fields) != 3 {
		return object{}, fmt.Errorf("unexpected answer %q", printable(line, 80))
	}
	size, err := strconv.ParseInt(fields[2], 10, 64)
	if err != nil || size < 0 {
		return object{}, fmt.Errorf("unexpected answer %q", printable(line, 80))
	}
	// What is remembered of an object must not hold on to the whole line.
	o := object{id: name, kind: strings.Clone(fields[1]), size: size}
	if fields[0] != name {
		o.id = strings.Clone(fields[0])
	}
	return o, nil
}

func (c *catFile) start() error {
	c.lastUse = time.Now()
	if c.cmd != nil {
		return nil
	}
	cmd := c.run.command(context.Background(), call{args: []string{"cat-file", "--batch-command"}})
	in, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("start git: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("start git: %w", err)
	}
	c.stderr = &tail{limit: maxComplaint}
	cmd.Stderr = c.stderr
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start git: %w", err)
	}
	c.cmd, c.in, c.out = cmd, in, bufio.NewReaderSize(out, 64<<10)
	c.retire = time.AfterFunc(c.idle, c.rest)
	return nil
}

// rest ends the process if it was idle for long enough, or looks again later.
func (c *catFile) rest() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cmd == nil {
		return
	}
	if left := c.idle - time.Since(c.lastUse); left > 0 {
		c.retire.Reset(left)
		return
	}
	c.end()
}

// end ends the process. The caller has the lock.
func (c *catFile) end() {
	if c.cmd == nil {
		return
	}
	c.retire.Stop()
	_ = c.in.Close()
	_ = killGroup(c.cmd)
	_ = c.cmd.Wait()
	c.cmd = nil
}

// pause ends the process and keeps it from starting while do runs.
func (c *catFile) pause(do func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end()
	return do()
}

func (c *catFile) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.end()
}
