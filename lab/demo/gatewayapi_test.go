package demo

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"flag"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/gateway-api/pkg/consts"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write gateway-api.zip anew from the module")

// The version that istiod is built with decides: go.mod.
func TestGatewayAPIIsTheModules(t *testing.T) {
	want := standardChannel(t)
	if *update {
		if err := os.WriteFile("gateway-api.zip", pack(t, want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	to := filepath.Join(t.TempDir(), "crds")
	if err := writeGatewayAPI(to); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, readFiles(t, to)); diff != "" {
		t.Errorf("gateway-api.zip is not what the module has; 'go test ./demo -update' writes it (-module +zip):\n%s", diff)
	}
}

func TestGatewayAPIIsOfOneVersion(t *testing.T) {
	to := filepath.Join(t.TempDir(), "crds")
	if err := writeGatewayAPI(to); err != nil {
		t.Fatal(err)
	}
	for name, text := range readFiles(t, to) {
		var object struct {
			Kind     string
			Metadata struct{ Annotations map[string]string }
		}
		first, _, _ := strings.Cut(strings.TrimPrefix(text, "---\n"), "\n---\n")
		if err := yaml.Unmarshal([]byte(first), &object); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := object.Metadata.Annotations[consts.BundleVersionAnnotation]; got != consts.BundleVersion {
			t.Errorf("%s (%s) is of version %q, want %s", name, object.Kind, got, consts.BundleVersion)
		}
	}
}

// standardChannel reads the files of the module.
func standardChannel(t *testing.T) map[string]string {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/gateway-api").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	files := readFiles(t, filepath.Join(strings.TrimSpace(string(dir)), "config", "crd", "standard"))
	if len(files) == 0 {
		t.Fatal("the module has no definitions")
	}
	return files
}

func readFiles(t *testing.T, dir string) map[string]string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(path)] = string(data)
	}
	return files
}

// pack compresses files, to the same bytes each time.
func pack(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	w.RegisterCompressor(zip.Deflate, func(out io.Writer) (io.WriteCloser, error) {
		return flate.NewWriter(out, flate.BestCompression)
	})
	for _, name := range slices.Sorted(maps.Keys(files)) {
		f, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f, files[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
