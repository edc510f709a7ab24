// Package crilog writes what a container prints to the file that the kubelet
// reads. In go the container's standard output and error; out comes a line
// each in the format of the CRI: time, stream, F for a whole line or P for a
// part of one, text
// (https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md).
package crilog

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// maxText is how much of a line is kept in memory and written at once, as in
// other runtimes.
const maxText = 16 << 10

// maxFile is the size of a file, in bytes, at which a container that prints
// faster than the kubelet rotates has to wait: the node's logs are in memory.
const maxFile = 128 << 20

// Log is the log file of one container.
type Log struct {
	path string
	now  func() time.Time
	most int64

	mu    sync.Mutex
	room  sync.Cond // that of mu: there is another file, or the end has come
	file  *os.File
	size  int64
	torn  bool // the last line written is incomplete
	ended bool
}

// Open creates the file at path, and its directory, or goes on in an existing
// file.
func Open(path string) (*Log, error) {
	l := &Log{path: path, now: time.Now, most: maxFile}
	l.room.L = &l.mu
	if err := l.Reopen(); err != nil {
		return nil, err
	}
	return l, nil
}

// Reopen goes on in a new file at the same path, after somebody has renamed
// the old one.
func (l *Log) Reopen() error {
	if err := os.MkdirAll(filepath.Dir(l.path), 0o755); err != nil {
		return fmt.Errorf("container log: %w", err)
	}
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return fmt.Errorf("container log: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return fmt.Errorf("container log: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		_ = l.file.Close()
	}
	l.file, l.size, l.torn = f, info.Size(), false
	l.room.Broadcast()
	return nil
}

// End says that the container prints no more. What is left goes into the file
// that there is: nobody rotates the log of a container that has ended.
func (l *Log) End() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	l.room.Broadcast()
}

// Copy writes what it reads from r until r ends. The container waits while
// the disk is slow, and for a rotation when the file is large; when the disk is
// full, what it prints is lost.
func (l *Log) Copy(r io.Reader, stream string) {
	br := bufio.NewReaderSize(r, maxText)
	var lines []byte
	for {
		text, err := br.ReadSlice('\n')
		if len(text) > 0 {
			tag := " F "
			if text[len(text)-1] != '\n' {
				tag = " P "
			} else {
				text = text[:len(text)-1]
			}
			lines = l.now().UTC().AppendFormat(lines, time.RFC3339Nano)
			lines = append(append(append(append(append(lines, ' '), stream...), tag...), text...), '\n')
		}
		ended := err != nil && !errors.Is(err, bufio.ErrBufferFull)
		if ended || len(lines) >= maxText || !hasLine(br) {
			l.write(lines)
			lines = lines[:0]
		}
		if ended {
			return
		}
	}
}

// hasLine reports whether the next line is there without waiting.
func hasLine(br *bufio.Reader) bool {
	next, _ := br.Peek(br.Buffered())
	return bytes.IndexByte(next, '\n') >= 0
}

func (l *Log) write(lines []byte) {
	if len(lines) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.size >= l.most && !l.ended {
		l.room.Wait()
	}
	if l.torn {
		// What a full disk took of the last line is a line of its own.
		if _, err := l.file.Write([]byte{'\n'}); err != nil {
			return
		}
		l.torn = false
	}
	n, err := l.file.Write(lines)
	l.size += int64(n)
	l.torn = err != nil && n > 0
}

// Touch wakes whoever follows the file, who looks then whether the container
// still runs: setting the size that it has counts as a change.
func (l *Log) Touch() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if info, err := l.file.Stat(); err == nil {
		_ = l.file.Truncate(info.Size())
	}
}

// Close closes the file.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file.Close()
}
