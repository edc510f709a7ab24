// Package wire is what a render pool and its workers say to each other over a
// pair of pipes: frames of one byte of kind, four bytes of length and the
// payload. The worker asks for files and sends its output; the parent sends
// jobs and answers. Both sides bound what they read, since the other side may
// be under the control of a chart.
package wire

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Version is the version of the protocol. Parent and worker are the same
// binary, so a difference means that the binary was replaced under a running
// parent.
const Version = 1

// Kind says what the payload of a frame is.
type Kind byte

// The kinds of frames. Hello, Ask, Chunk, Done and Failed go to the parent;
// Job and Answer go to the worker.
const (
	// Hello carries a Greeting as JSON, once, after the sandbox has closed.
	Hello Kind = 'H'
	// Job carries an Assignment as JSON.
	Job Kind = 'J'
	// Ask carries a Question.
	Ask Kind = 'A'
	// Answer carries what the last Ask asked for.
	Answer Kind = 'R'
	// Chunk carries the next part of the encoded output.
	Chunk Kind = 'C'
	// Done carries a Usage as JSON; the output is complete.
	Done Kind = 'D'
	// Failed carries a Failure as JSON; chunks that came before are void.
	Failed Kind = 'F'
)

// headerBytes is the length of a frame without its payload.
const headerBytes = 5

// ErrProtocol is wrapped by the errors of a side that does not keep to the
// protocol, or exceeds a bound of it.
var ErrProtocol = errors.New("protocol violation")

// Conn reads and writes frames. Reading and writing may happen in two
// goroutines, but each of them in one at a time.
type Conn struct {
	r      *bufio.Reader
	w      *bufio.Writer
	bound  int
	in     []byte
	header [headerBytes]byte
}

// NewConn returns a Conn that refuses to read a payload of more than bound
// bytes.
func NewConn(r io.Reader, w io.Writer, bound int) *Conn {
	return &Conn{r: bufio.NewReaderSize(r, 32<<10), w: bufio.NewWriterSize(w, 32<<10), bound: bound}
}

// Read returns the next frame. The payload is valid until the next Read. The
// error is io.EOF if the other side closed the pipe between two frames, and
// wraps ErrProtocol if the frame is too long.
func (c *Conn) Read() (Kind, []byte, error) {
	var header [headerBytes]byte
	if _, err := io.ReadFull(c.r, header[:]); err != nil {
		return 0, nil, err
	}
	n := int(binary.BigEndian.Uint32(header[1:]))
	if n > c.bound {
		return 0, nil, fmt.Errorf("%w: a frame of %d bytes, %d are allowed", ErrProtocol, n, c.bound)
	}
	c.in = grow(c.in, n)
	if _, err := io.ReadFull(c.r, c.in); err != nil {
		return 0, nil, err
	}
	return Kind(header[0]), c.in, nil
}

// grow returns a slice of n bytes, reusing buf unless it became much larger
// than what is usual: one large file must not be held for ever.
func grow(buf []byte, n int) []byte {
	const usual = 256 << 10
	if n <= cap(buf) && (cap(buf) <= usual || n > usual) {
		return buf[:n]
	}
	return slices.Grow([]byte(nil), n)[:n]
}

// Write buffers a frame whose payload is the concatenation of parts; Flush
// sends what is buffered.
func (c *Conn) Write(kind Kind, parts ...[]byte) error {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	c.header[0] = byte(kind)
	binary.BigEndian.PutUint32(c.header[1:], uint32(n))
	if _, err := c.w.Write(c.header[:]); err != nil {
		return err
	}
	for _, p := range parts {
		if _, err := c.w.Write(p); err != nil {
			return err
		}
	}
	return nil
}

// Flush sends the frames that Write has buffered.
func (c *Conn) Flush() error { return c.w.Flush() }

// Send writes a frame and flushes.
func (c *Conn) Send(kind Kind, parts ...[]byte) error {
	if err := c.Write(kind, parts...); err != nil {
		return err
	}
	return c.Flush()
}
