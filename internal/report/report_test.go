package report

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mizzen.dev/mizzen"
)

var update = flag.Bool("update", false, "write the golden files anew")

func samplePlan() *mizzen.Plan {
	web := mizzen.Ref{Group: "apps", Kind: "Deployment", Namespace: "shop", Name: "web"}
	p := &mizzen.Plan{
		Schema:      mizzen.PlanSchema,
		Application: mizzen.Name{Namespace: "mizzen-system", Name: "web"},
		Cluster:     "in-cluster",
		Commit:      mizzen.Commit{ID: "0123456789abcdef"},
		Unchanged:   4,
		Changes: []mizzen.Change{
			{
				Ref: web, Action: mizzen.Update, Origin: mizzen.Origin{File: "web/deployment.yaml", Line: 1},
				Fields: []mizzen.FieldChange{
					{Path: "spec.replicas", Before: int64(2), After: int64(3), Origin: mizzen.Origin{File: "web/patch.yaml", Line: 7}},
					{Path: "metadata.labels.team", After: "a|b`c", Manager: "kubectl"},
				},
			},
			{Ref: mizzen.Ref{Kind: "ConfigMap", Namespace: "shop", Name: "new"}, Action: mizzen.Create, NotVerified: "its namespace is in the same commit"},
			{Ref: mizzen.Ref{Kind: "Service", Namespace: "shop", Name: "old"}, Action: mizzen.Keep, Reason: "Prune=false"},
		},
		Findings: []mizzen.Finding{{
			Code: mizzen.CodeUnknownField, Severity: mizzen.Fatal, Ref: web, Path: "spec.replica",
			Message: "unknown field spec.replica", Remedy: "did you mean spec.replicas?", Origin: mizzen.Origin{File: "web/deployment.yaml", Line: 9},
		}},
	}
	p.Digest = p.ComputeDigest()
	return p
}

// sampleTrafficPlan also says what happens to traffic.
func sampleTrafficPlan() *mizzen.Plan {
	p, r := samplePlan(), sampleReview()
	p.Effects, p.Verdict, p.Live = r.Effects, r.Verdict, &mizzen.ReviewLive{Server: "in-cluster", Objects: 37}
	return p
}

// sampleCalmPlan does nothing to traffic.
func sampleCalmPlan() *mizzen.Plan {
	p := samplePlan()
	p.Effects, p.Verdict = []mizzen.Effect{}, &mizzen.Verdict{Decision: mizzen.Allow}
	return p
}

func TestGolden(t *testing.T) {
	for name, write := range goldens() {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := write(&b); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", name)
			if *update {
				if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), b.String()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		})
	}
}

func TestValue(t *testing.T) {
	for _, c := range []struct {
		in   any
		want string
	}{
		{nil, "(none)"},
		{"", `""`},
		{"a\nb", `"a\nb"`},
		{"\x1b[2J", `"\x1b[2J"`},
		{map[string]any{"b": 1.5, "a": true}, `{"a":true,"b":1.5}`},
	} {
		if got := Value(c.in); got != c.want {
			t.Errorf("Value(%v) = %s, want %s", c.in, got, c.want)
		}
	}
	if got := Value(string(bytes.Repeat([]byte("ä"), 100))); len([]rune(got)) != 80 {
		t.Errorf("a long value has %d characters", len([]rune(got)))
	}
}
