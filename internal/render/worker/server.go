package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"syscall"
	"time"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/render"
	"mizzen.dev/mizzen/internal/render/wire"
)

// frame is one message of the parent.
type frame struct {
	kind    wire.Kind
	payload []byte
}

// server does one job after the other.
type server struct {
	conn   *wire.Conn
	frames chan frame
	setup  wire.Setup
	table  Table
}

func newServer(setup wire.Setup, table Table) *server {
	return &server{
		conn:   wire.NewConn(pipe(0), pipe(1), maxAnswerBytes),
		frames: make(chan frame),
		setup:  setup,
		table:  table,
	}
}

// pipe reads and writes an open descriptor with plain system calls: the
// poller of the os package would need to look at the file first.
type pipe int

func (p pipe) Read(b []byte) (int, error) {
	for {
		n, err := syscall.Read(int(p), b)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 0, err
		case n == 0:
			return 0, errEnd
		default:
			return n, nil
		}
	}
}

func (p pipe) Write(b []byte) (int, error) {
	written := 0
	for written < len(b) {
		n, err := syscall.Write(int(p), b[written:])
		if err != nil && !errors.Is(err, syscall.EINTR) {
			return written, err
		}
		written += max(0, n)
	}
	return written, nil
}

var errEnd = errors.New("the parent has closed the pipe")

// serve answers jobs until the parent closes the pipe.
func (s *server) serve() int {
	go s.listen()
	for {
		f := <-s.frames
		var job wire.Assignment
		if f.kind != wire.Job || json.Unmarshal(f.payload, &job) != nil {
			return 2
		}
		if err := s.do(job); err != nil {
			return 2 // the parent is gone
		}
	}
}

// listen hands frames on. It ends the process when the parent closes the pipe
// or dies, even in the middle of a template that never ends.
func (s *server) listen() {
	for {
		kind, payload, err := s.conn.Read()
		if err != nil {
			os.Exit(0)
		}
		s.frames <- frame{kind, slices.Clone(payload)}
	}
}

// do renders and sends what came of it; it fails only if that cannot be sent.
func (s *server) do(job wire.Assignment) error {
	out, err := s.render(job)
	usage := used()
	usage.Tainted = taints(out, err)
	if err == nil {
		chunks := &chunkWriter{conn: s.conn, left: s.setup.OutputBytes}
		err = render.EncodeOutput(chunks, out)
		if broken := chunks.flush(); broken != nil {
			return broken
		}
	}
	if err != nil {
		return s.sendJSON(wire.Failed, wire.Failure{Usage: usage, Error: wire.EncodeError(err)})
	}
	return s.sendJSON(wire.Done, usage)
}

// taints reports whether the process may be another one than before. An error
// without an Output does not tell, so after a panic, and after anything that
// is not a complaint about the files, the worker is not trusted again.
func taints(out *render.Output, err error) bool {
	if out != nil {
		return out.Tainted
	}
	switch mizzen.KindOf(err) {
	case mizzen.Invalid, mizzen.Refused, mizzen.NotFound:
		return false
	}
	return err != nil
}

// render runs the renderer of a job. A panic is an error that taints.
func (s *server) render(job wire.Assignment) (out *render.Output, err error) {
	var o render.Options
	if err := json.Unmarshal(job.Options, &o); err != nil {
		return nil, &mizzen.Error{Kind: mizzen.Invalid, Err: err, Remedy: "correct spec.source"}
	}
	ctx, cancel := context.WithTimeout(context.Background(), job.Timeout)
	defer cancel()
	defer func() {
		if r := recover(); r != nil {
			fmt.Fprintf(os.Stderr, "panic: %v\n%s", r, debug.Stack())
			out, err = nil, &mizzen.Error{
				Kind: mizzen.Internal, Object: o.Path, Err: fmt.Errorf("the %s renderer panics: %v", o.Renderer, r),
				Remedy: "report it with the files that cause it",
			}
		}
	}()
	files := newFiles(s)
	if o.Renderer == "" {
		if o.Renderer, err = render.Detect(files, o.Path); err != nil {
			return nil, err
		}
	}
	renderer, ok := s.table[o.Renderer]
	if !ok {
		return nil, &mizzen.Error{
			Kind: mizzen.Invalid, Object: o.Path, Err: fmt.Errorf("there is no renderer %q", o.Renderer),
			Remedy: "set spec.source.renderer to Helm, Kustomize or Plain, or leave it out",
		}
	}
	out, err = renderer(ctx, files, o)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		// The parent would have said the same a moment later.
		err = render.TooLate(job.Timeout, err)
	}
	return s.bounded(out, err)
}

// bounded checks what can be checked before anything is sent.
func (s *server) bounded(out *render.Output, err error) (*render.Output, error) {
	switch {
	case err != nil:
		return out, err
	case out == nil:
		return nil, errors.New("the renderer returns nothing")
	case len(out.Objects) > s.setup.Objects:
		return out, &mizzen.Error{
			Kind: mizzen.TooLarge, Err: fmt.Errorf("it renders %d objects, %d are allowed", len(out.Objects), s.setup.Objects),
			Remedy: "split the application",
		}
	}
	return out, nil
}

func (s *server) sendJSON(kind wire.Kind, v any) error {
	payload, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.conn.Send(kind, payload)
}

// chunkWriter sends the encoded output in frames, within its bound.
type chunkWriter struct {
	conn *wire.Conn
	buf  []byte
	left int64
}

// chunkBytes is the size of a chunk; the parent takes frames up to 1 MiB.
const chunkBytes = 256 << 10

// Write implements io.Writer.
func (c *chunkWriter) Write(b []byte) (int, error) {
	if c.left -= int64(len(b)); c.left < 0 {
		return 0, &mizzen.Error{
			Kind: mizzen.TooLarge, Err: errors.New("the objects are too many, or too large"), Remedy: "split the application",
		}
	}
	for rest := b; len(rest) > 0; {
		n := min(len(rest), chunkBytes-len(c.buf))
		c.buf = append(c.buf, rest[:n]...)
		rest = rest[n:]
		if len(c.buf) == chunkBytes {
			if err := c.flush(); err != nil {
				return 0, err
			}
		}
	}
	return len(b), nil
}

func (c *chunkWriter) flush() error {
	if len(c.buf) == 0 {
		return nil
	}
	err := c.conn.Write(wire.Chunk, c.buf)
	c.buf = c.buf[:0]
	return err
}

// used returns the processor time and the memory of this process.
func used() wire.Usage {
	var u wire.Usage
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err == nil {
		u.CPU = time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	sample := []metrics.Sample{
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
	}
	metrics.Read(sample)
	u.MemoryBytes = sample[0].Value.Uint64() - sample[1].Value.Uint64()
	return u
}
