// Package architecture enforces the shape of the house: who may import whom,
// that every package says what it is for, and how long a file may be.
package architecture

import (
	"bufio"
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "mizzen.dev/mizzen"

// joiners may import stages; everything else in internal/ is a stage.
var joiners = []string{"engine", "controller", "server", "cli", "observe"}

// foundations are no stages, since several stand on them: the sandbox confines
// their workers, and expression runs the CEL of others. They import no stage.
var foundations = []string{"sandbox", "expression"}

// testSupport is for tests and benchmarks; the product does not have it.
var testSupport = []string{"labtest", "meshtest"}

type goPackage struct {
	ImportPath string
	Dir        string
	Imports    []string
	GoFiles    []string
}

func packages(t *testing.T) []goPackage {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Dir,Imports,GoFiles", module+"/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var list []goPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return list
		} else if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
}

// room returns the first folder below internal/, or "" outside of it.
func room(importPath string) string {
	rest, ok := strings.CutPrefix(importPath, module+"/internal/")
	if !ok {
		return ""
	}
	first, _, _ := strings.Cut(rest, "/")
	return first
}

func TestImports(t *testing.T) {
	for _, p := range packages(t) {
		from := room(p.ImportPath)
		for _, imp := range p.Imports {
			if why := forbidden(p.ImportPath, from, imp); why != "" {
				t.Errorf("%s must not import %s: %s", p.ImportPath, imp, why)
			}
		}
	}
}

func forbidden(importer, from, imp string) string {
	to := room(imp)
	isTest := from == "architecture" || slices.Contains(testSupport, from)
	switch {
	case importer == module && (strings.Contains(imp, "client-go") || strings.HasPrefix(imp, module)):
		return "the vocabulary knows no client and no stage"
	case strings.HasPrefix(importer, module+"/api/") && (strings.Contains(imp, "client-go") || strings.HasPrefix(imp, module+"/internal")):
		return "the API depends on apimachinery alone"
	case importer == module+"/cmd/mizzen" && !slices.Contains([]string{"", "cli", "render", "traffic"}, to):
		return "main only starts the command line, or a worker"
	case strings.HasPrefix(imp, "k8s.io/kubernetes") || strings.HasPrefix(imp, module+"/lab"):
		return "the lab is never linked into the product"
	case from == "" || to == "" || from == to || isTest || slices.Contains(foundations, to):
		return ""
	case slices.Contains(testSupport, to):
		return to + " is for tests"
	case to == "cli" || to == "server" && from != "cli":
		return "nothing imports the command line"
	case !slices.Contains(joiners, from):
		return "stages never import each other; they meet in the vocabulary"
	case from == "engine" && slices.Contains(joiners, to) && to != "observe":
		return "the engine serves controller, server and command line, not the other way round"
	}
	return ""
}

func TestForbidden(t *testing.T) {
	cases := []struct {
		from, imp string
		want      bool
	}{
		{"/internal/diff", "/internal/apply", true},
		{"/internal/render/helm", "/internal/render", false},
		{"/internal/engine", "/internal/diff", false},
		{"/internal/engine", "/internal/cli", true},
		{"/internal/controller/application", "/internal/engine", false},
		{"/internal/policy", "/internal/expression", false},
		{"/internal/expression", "/internal/policy", true},
		{"/internal/engine", "/internal/meshtest", true},
		{"/cmd/mizzen", "/internal/meshtest", true},
		{"/bench", "/internal/meshtest", false},
		{"", "/internal/diff", true},
		{"/cmd/mizzen", "/internal/engine", true},
	}
	for _, c := range cases {
		if got := forbidden(module+c.from, room(module+c.from), module+c.imp) != ""; got != c.want {
			t.Errorf("forbidden(%s -> %s) = %v, want %v", c.from, c.imp, got, c.want)
		}
	}
}

func TestPackageComments(t *testing.T) {
	for _, p := range packages(t) {
		documented := false
		for _, f := range p.GoFiles {
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, f), nil, parser.PackageClauseOnly|parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			documented = documented || file.Doc != nil
		}
		if !documented && len(p.GoFiles) > 0 {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}

func TestNames(t *testing.T) {
	banned := []string{"util", "utils", "common", "helper", "helpers", "types", "misc", "shared"}
	for _, p := range packages(t) {
		if slices.Contains(banned, filepath.Base(p.ImportPath)) {
			t.Errorf("%s: a package is named for what it does", p.ImportPath)
		}
	}
}

func TestFileLength(t *testing.T) {
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && slices.Contains([]string{".git", "bin", ".lab", ".cache", "node_modules"}, d.Name()) {
			return filepath.SkipDir
		}
		limit := 400
		switch {
		case filepath.Ext(path) != ".go" || strings.HasPrefix(d.Name(), "zz_generated"):
			return nil
		case strings.HasSuffix(path, "_test.go"):
			limit = 800
		}
		n, err := countLines(path)
		if n > limit {
			t.Errorf("%s has %d lines; %d are enough", strings.TrimPrefix(path, root+"/"), n, limit)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func countLines(path string) (int, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	n := 0
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		n++
	}
	return n, s.Err()
}
