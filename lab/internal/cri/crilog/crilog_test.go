package crilog

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func open(t *testing.T) *Log {
	t.Helper()
	l, err := Open(filepath.Join(t.TempDir(), "pod", "0.log"))
	if err != nil {
		t.Fatal(err)
	}
	l.now = func() time.Time { return time.Date(2026, 11, 28, 9, 0, 0, 5, time.UTC) }
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func content(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestLinesAndPartsOfLines(t *testing.T) {
	l := open(t)
	long := strings.Repeat("x", maxText)
	l.Copy(strings.NewReader("one\n\n"+long+"y\nend"), "stdout")
	l.Copy(strings.NewReader("oops\n"), "stderr")
	const at = "2026-11-28T09:00:00.000000005Z "
	want := at + "stdout F one\n" + at + "stdout F \n" + at + "stdout P " + long + "\n" +
		at + "stdout F y\n" + at + "stdout P end\n" + at + "stderr F oops\n"
	if diff := cmp.Diff(want, content(t, l.path)); diff != "" {
		t.Error(diff)
	}
}

func TestReopenAfterRotation(t *testing.T) {
	l := open(t)
	l.Copy(strings.NewReader("old\n"), "stdout")
	if err := os.Rename(l.path, l.path+".1"); err != nil {
		t.Fatal(err)
	}
	l.Copy(strings.NewReader("still old\n"), "stdout")
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	l.Copy(strings.NewReader("new\n"), "stdout")
	if got := content(t, l.path+".1"); strings.Count(got, "\n") != 2 || !strings.Contains(got, "still old") {
		t.Errorf("the rotated file is %q", got)
	}
	if got := content(t, l.path); strings.Count(got, "\n") != 1 || !strings.Contains(got, "new") {
		t.Errorf("the new file is %q", got)
	}
}

func TestWaitsForRotation(t *testing.T) {
	l := open(t)
	l.most = 1
	done := make(chan struct{})
	go func() {
		// One byte at a time: each line is written by itself.
		l.Copy(iotest.OneByteReader(strings.NewReader("1\n2\n3\n4\n")), "stdout")
		close(done)
	}()
	for content(t, l.path) == "" {
		runtime.Gosched()
	}
	if err := os.Rename(l.path, l.path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	for content(t, l.path) == "" {
		runtime.Gosched()
	}
	l.End()
	<-done
	if got := content(t, l.path+".1"); strings.Count(got, "\n") != 1 {
		t.Errorf("the file that was large enough is %q", got)
	}
	if got := content(t, l.path); strings.Count(got, "\n") != 3 {
		t.Errorf("after the end of the container the file is %q", got)
	}
}

// endless is a line without an end.
type endless struct{ left int }

func (e *endless) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n := min(len(p), e.left)
	for i := range n {
		p[i] = 'x'
	}
	e.left -= n
	return n, nil
}

func TestMemoryIsBounded(t *testing.T) {
	l := open(t)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	l.Copy(&endless{64 << 20}, "stdout")
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20 {
		t.Errorf("64 MiB without a newline allocated %d bytes", got)
	}
	info, err := os.Stat(l.path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() < 64<<20 {
		t.Errorf("%d bytes were written", info.Size())
	}
}

func TestFullDiskTearsOneLine(t *testing.T) {
	l := open(t)
	l.Copy(strings.NewReader("first\n"), "stdout")
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	good := l.file
	l.file = full
	l.Copy(strings.NewReader("lost\n"), "stdout")
	l.file = good
	_ = full.Close()
	l.torn = true // as if half of it had been written
	l.Copy(strings.NewReader("next\n"), "stdout")
	lines := strings.Split(content(t, l.path), "\n")
	if len(lines) != 4 || lines[1] != "" || !strings.HasSuffix(lines[2], " next") {
		t.Errorf("lines: %q", lines)
	}
}

func TestTouchWakesFollowers(t *testing.T) {
	l := open(t)
	l.Copy(strings.NewReader("text\n"), "stdout")
	before := content(t, l.path)
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		t.Fatal(fmt.Errorf("inotify: %w", err))
	}
	defer func() { _ = unix.Close(fd) }()
	if _, err := unix.InotifyAddWatch(fd, l.path, unix.IN_MODIFY); err != nil {
		t.Fatal(err)
	}
	l.Touch()
	if n, err := unix.Read(fd, make([]byte, 256)); err != nil || n == 0 {
		t.Errorf("no event: %v", err)
	}
	if after := content(t, l.path); after != before {
		t.Errorf("the content has changed to %q", after)
	}
}
