package worker

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"

	"istio.io/istio/pkg/log"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/sandbox"
	"mizzen.dev/mizzen/internal/traffic"
	"mizzen.dev/mizzen/internal/traffic/compile"
)

// handlers answer jobs by what they ask for.
var handlers = map[Ask]func(context.Context, *session, Job) (any, error){
	AskTrace: traceRequest, AskTraceKnown: traceKnown, AskEffects: effects, AskAnalyze: analyzed, AskCompile: compiledMesh, AskAcross: across,
}

// dataBytes bounds the memory of a worker, in bytes.
const dataBytes = 4 << 30

// Main is a worker process: it confines itself, answers jobs on standard input
// until that ends, and returns the exit code.
func Main(args []string) int {
	for _, scope := range log.Scopes() {
		scope.SetOutputLevel(log.NoneLevel) // what matters is in the results
	}
	collect()
	// What a library prints must not end up between answers.
	out := os.Stdout
	os.Stdout = os.Stderr
	report := sandbox.Enter(sandbox.Bounds{DataBytes: dataBytes})
	if !report.Confined() && !slices.Contains(args, allowUnsandboxed) {
		fmt.Fprintln(os.Stderr, "the worker cannot be confined:", report)
		return 1
	}
	if err := serve(bufio.NewReader(os.Stdin), out); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func serve(in io.Reader, out io.Writer) error {
	s := &session{}
	for {
		var job Job
		if err := read(in, &job); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read a job (this command is for mizzen itself, not by hand): %w", err)
		}
		if err := write(out, s.answer(job)); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
	}
}

// session is what a worker remembers from job to job.
type session struct {
	// recent are the meshes of the last jobs, the newest first.
	recent []compiled
}

type compiled struct {
	digest [sha256.Size]byte
	mesh   *traffic.Mesh
}

// remembered is how many meshes are kept: both sides of a comparison, so that
// the next one finds its first side.
const remembered = 2

func (s *session) answer(job Job) (a answer) {
	// Views are compiled while questions are answered: a defect of istiod's code
	// must not take the worker with it.
	defer func() {
		if p := recover(); p != nil {
			a = answer{Kind: mizzen.Internal, Object: "traffic plan", Error: fmt.Sprintf("istiod's code panics: %v\n%s", p, debug.Stack())}
		}
	}()
	handle := handlers[job.Ask]
	if handle == nil {
		return answer{Kind: mizzen.Internal, Error: fmt.Sprintf("a worker is asked for %q, which it does not know", job.Ask)}
	}
	// The parent kills a worker that takes too long.
	return answerOf(handle(context.Background(), s, job))
}

// mesh compiles objects, of which some are new, unless that was done a moment
// ago.
func (s *session) mesh(ctx context.Context, job Job, newcomers []mizzen.Ref, lists ...[]Object) (*traffic.Mesh, error) {
	digest, err := digestOf(job, newcomers, lists)
	if err != nil {
		return nil, err
	}
	for _, c := range s.recent {
		if c.digest == digest {
			return c.mesh, nil
		}
	}
	mesh, err := compile.Compile(ctx, received(lists...), compile.Options{
		MeshConfig: []byte(job.MeshConfig), RootNamespace: job.RootNamespace, Vantage: job.Vantage,
		Selections: job.Selections, Newcomers: newcomers,
	})
	if err != nil {
		return nil, err
	}
	s.recent = append([]compiled{{digest, mesh}}, s.recent...)
	s.recent = s.recent[:min(len(s.recent), remembered)]
	return mesh, nil
}

func digestOf(job Job, newcomers []mizzen.Ref, lists [][]Object) (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	enc := json.NewEncoder(h)
	for _, v := range []any{job.MeshConfig, job.RootNamespace, job.Vantage, job.Selections, newcomers, lists} {
		if err := enc.Encode(v); err != nil {
			return sum, err
		}
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}
