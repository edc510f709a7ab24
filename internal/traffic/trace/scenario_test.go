package trace_test

import (
	"bytes"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/render"
	"mizzen.dev/mizzen/internal/render/plain"
	"mizzen.dev/mizzen/internal/report"
	"mizzen.dev/mizzen/internal/traffic"
	"mizzen.dev/mizzen/internal/traffic/compile"
	"mizzen.dev/mizzen/internal/traffic/trace"
)

var update = flag.Bool("update", false, "write the answers of the scenarios anew")

// TestScenarios asks the questions of each file of testdata: manifests, and
// sections that are named as a question, each with its answer.
//
//	-- mesh.yaml --
//	…
//	-- --from shop/web GET http://reviews/ --
//	…
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { scenario(t, file) })
	}
}

func scenario(t *testing.T, file string) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	mesh := meshOf(t, archive)
	for i := range archive.Files {
		f := &archive.Files[i]
		q, ok := ask(t, f.Name)
		if !ok {
			continue
		}
		got := answer(t, mesh, q)
		if *update {
			f.Data = []byte(got)
			continue
		}
		if diff := cmp.Diff(string(f.Data), got); diff != "" {
			t.Errorf("%s:\n%s", f.Name, diff)
		}
	}
	if *update {
		if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// answer is what a user sees, with an empty last line, so that a section ends
// visibly.
func answer(t *testing.T, mesh *traffic.Mesh, q trace.Question) string {
	t.Helper()
	got, err := trace.Trace(mesh, q)
	if err != nil {
		return "error: " + err.Error() + "\n\n"
	}
	var b bytes.Buffer
	if err := report.TraceText(&b, got, report.Style{}); err != nil {
		t.Fatal(err)
	}
	return b.String() + "\n"
}

// ask reads a question as the command line would.
func ask(t *testing.T, line string) (q trace.Question, ok bool) {
	t.Helper()
	words := strings.Fields(line)
	for i := 0; i < len(words); i++ {
		switch word := words[i]; {
		case word == "--from":
			i++
			q.From = words[i]
		case word == "--gateway":
			i++
			q.Gateway = words[i]
		case word == "-H":
			i++
			name, value, _ := strings.Cut(words[i], ":")
			q.Headers = append(q.Headers, mizzen.TraceHeader{Name: name, Value: value})
		case word == "--claim":
			i++
			name, value, _ := strings.Cut(words[i], "=")
			if q.Claims == nil {
				q.Claims = map[string]any{}
			}
			q.Claims[name] = value
		case strings.Contains(word, "://"):
			q.URL = word
		default:
			q.Method = word
		}
	}
	return q, q.URL != ""
}

func meshOf(t testing.TB, archive *txtar.Archive) *traffic.Mesh {
	t.Helper()
	fsys := fstest.MapFS{}
	for _, f := range archive.Files {
		if strings.HasSuffix(f.Name, ".yaml") {
			fsys[f.Name] = &fstest.MapFile{Data: f.Data}
		}
	}
	return compiled(t, fsys)
}

// compiled renders all manifests of a directory and compiles them.
func compiled(t testing.TB, fsys fs.FS) *traffic.Mesh {
	t.Helper()
	out, err := plain.Render(t.Context(), fsys, render.Options{Path: ".", FieldOrigins: true})
	if err != nil {
		t.Fatal(err)
	}
	mesh, err := compile.Compile(t.Context(), out.Objects, compile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return mesh
}
