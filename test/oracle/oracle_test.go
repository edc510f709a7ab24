package oracle

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	istiolog "istio.io/istio/pkg/log"

	"mizzen.dev/mizzen/internal/traffic"
	"mizzen.dev/mizzen/internal/traffic/compile"
	"mizzen.dev/mizzen/test/oracle/internal/certs"
	"mizzen.dev/mizzen/test/oracle/internal/generate"
	"mizzen.dev/mizzen/test/oracle/internal/runnable"
	"mizzen.dev/mizzen/test/oracle/internal/trial"
)

func TestMain(m *testing.M) {
	for _, s := range istiolog.Scopes() {
		s.SetOutputLevel(istiolog.NoneLevel)
	}
	os.Exit(m.Run())
}

func newBench(t *testing.T) *trial.Bench {
	t.Helper()
	ca, err := certs.New("mesh")
	if err != nil {
		t.Fatal(err)
	}
	binary, err := filepath.Abs("../../bin/envoy")
	if err != nil {
		t.Fatal(err)
	}
	return &trial.Bench{Binary: binary, CA: ca}
}

func TestTry(t *testing.T) {
	bench := newBench(t)
	var m generate.Mesh
	if file := os.Getenv("F"); file != "" {
		text, err := os.ReadFile("testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		m.Objects = string(text)
	} else {
		seed, _ := strconv.ParseUint(os.Getenv("S"), 10, 64)
		var err error
		if m, err = generate.NewMesh(seed); err != nil {
			t.Fatal(err)
		}
		os.WriteFile("/tmp/orc/mesh.yaml", []byte(m.Objects), 0o644)
	}
	objects, err := generate.Objects(m.Objects)
	if err != nil {
		t.Fatal(err)
	}
	mesh, err := compile.Compile(t.Context(), objects, compile.Options{MeshConfig: []byte(m.MeshConfig)})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(mesh.Rejected)
	for _, p := range mesh.Proxies {
		if os.Getenv("P") != "" && p.Name != os.Getenv("P") {
			continue
		}
		side := runnable.Outbound
		if p.Role == traffic.Gateway {
			side = runnable.Gateway
		}
		tr, err := bench.Start(t.Context(), p, side, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		n, bad := 0, 0
		seen := map[string]int{}
		kinds := map[string]int{}
		err = tr.Run(t.Context(), rand.New(rand.NewPCG(1, 1)), 3000, func(a trial.Asked) {
			n++
			kinds[a.Observed.Kind]++
			if !a.Agree() {
				bad++
				k := ""
				for _, d := range trial.Differences(a.Predicted, a.Observed) {
					k += strings.Fields(d)[0]
				}
				if seen[k]++; seen[k] < 4 {
					t.Error(a.Disagreement())
				}
			}
		})
		t.Log(p.Name, n, bad, kinds, err)
		tr.Close()
	}
}
