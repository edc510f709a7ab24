// Package worker is what runs in the child process of a render pool. It
// confines itself first and for ever; then it takes jobs from standard input,
// asks its parent for the files that a renderer looks at, and writes objects
// to standard output. What a chart can do here is compute.
package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"
	_ "time/tzdata" // templates convert to time zones, whose files are out of reach

	"mizzen.dev/mizzen/internal/render"
	"mizzen.dev/mizzen/internal/render/wire"
	"mizzen.dev/mizzen/internal/sandbox"
)

// Renderer turns files into objects. fsys is the whole repository; it
// implements fs.ReadFileFS, fs.ReadDirFS and fs.StatFS, and its errors wrap
// fs.ErrNotExist where nothing is.
type Renderer func(ctx context.Context, fsys fs.FS, o render.Options) (*render.Output, error)

// Table is the renderers of a worker, by name.
type Table map[render.Renderer]Renderer

const (
	// threads is how many goroutines of a worker run at the same time: the
	// second one is for the garbage collector.
	threads = 2
	// stackBytes bounds a recursion. Beyond it the runtime ends the process,
	// with a message that the parent understands.
	stackBytes = 128 << 20
	// maxAnswerBytes bounds what the worker reads at once: a file and a byte.
	maxAnswerBytes = 32<<20 + 1
)

// Serve is the main function of a worker: it returns the exit code of the
// process. Its only argument is a wire.Setup as JSON. warm is called before
// the sandbox closes: it loads whatever is otherwise loaded from files at
// first use.
func Serve(args []string, table Table, warm func()) int {
	setup := wire.Setup{}
	if len(args) != 1 || json.Unmarshal([]byte(args[0]), &setup) != nil {
		fmt.Fprintln(os.Stderr, "a render worker is started by mizzen itself, not by hand")
		return 2
	}
	prepare(setup)
	warm()
	report := sandbox.Enter(sandbox.Bounds{DataBytes: setup.DataBytes, CPU: setup.CPU})
	s := newServer(setup, table)
	greeting, err := json.Marshal(wire.Greeting{Version: wire.Version, Sandbox: report.Encode()})
	if err != nil || s.conn.Send(wire.Hello, greeting) != nil {
		return 2
	}
	if !report.Confined() && !setup.Unsandboxed {
		return 2 // the parent says why
	}
	defer runtime.KeepAlive(stdout)
	return s.serve()
}

// stdout keeps the file of the pipe to the parent. What a library prints must
// not end up between frames, so os.Stdout becomes another file; without this
// reference the garbage collector would then close the pipe.
var stdout = os.Stdout

// prepare makes a process that renders the same everywhere, and that ends
// rather than takes more than its share.
func prepare(setup wire.Setup) {
	os.Stdout = os.Stderr
	time.Local = time.UTC
	runtime.GOMAXPROCS(threads)
	debug.SetMaxStack(stackBytes)
	debug.SetGCPercent(200)
	if setup.DataBytes > 0 {
		// Below the hard limit, the garbage collector works harder first.
		debug.SetMemoryLimit(int64(setup.DataBytes / 4 * 3))
	}
	overtime := make(chan os.Signal, 1)
	signal.Notify(overtime, syscall.SIGXCPU)
	go func() {
		<-overtime
		os.Exit(render.ExitCPU)
	}()
	// An interrupt is for the parent, which ends its workers.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
}
