package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"

	"mizzen.dev/mizzen"
)

// scannable returns what code scanning would refuse of a document: the standard's
// schema, and what GitHub asks for beyond it
// (https://docs.github.com/code-security/reference/code-scanning/sarif-support-for-code-scanning).
func scannable(doc []byte) []string {
	parsed, err := sarif.FromBytes(doc)
	if err != nil {
		return []string{err.Error()}
	}
	// The parser writes these without a value if a document leaves them out.
	for _, run := range parsed.Runs {
		run.Language, run.Tool.Driver.Language, run.NewlineSequences = "en-US", "en-US", []string{"\n"}
	}
	var problems []string
	if err := parsed.Validate(); err != nil {
		problems = append(problems, err.Error())
	}
	// The parser drops what the standard does not know.
	strict := json.NewDecoder(bytes.NewReader(doc))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&sarif.Report{}); err != nil {
		problems = append(problems, err.Error())
	}
	for _, run := range parsed.Runs {
		for i, result := range run.Results {
			problems = append(problems, scannableResult(fmt.Sprintf("result %d (%s)", i, *result.RuleID), run, result)...)
		}
		for _, rule := range run.Tool.Driver.Rules {
			if rule.HelpURI == nil || rule.Help == nil || rule.ShortDescription == nil || rule.FullDescription == nil {
				problems = append(problems, "rule "+*rule.ID+" lacks an explanation")
			}
		}
	}
	return problems
}

func scannableResult(name string, run *sarif.Run, result *sarif.Result) []string {
	var problems []string
	if rules := run.Tool.Driver.Rules; result.RuleIndex >= len(rules) || *rules[result.RuleIndex].ID != *result.RuleID {
		problems = append(problems, name+": its index is not that of its rule")
	}
	if len(result.Locations) == 0 {
		return append(problems, name+": expected at least one location")
	}
	at := result.Locations[0].PhysicalLocation
	switch {
	case at == nil || at.ArtifactLocation == nil || at.ArtifactLocation.URI == nil || *at.ArtifactLocation.URI == "":
		problems = append(problems, name+": expected a physical location")
	case at.Region == nil || at.Region.StartLine == nil || *at.Region.StartLine < 1:
		problems = append(problems, name+": expected a line")
	case strings.Contains(*at.ArtifactLocation.URI, ":"):
		problems = append(problems, name+": the file is not within the repository: "+*at.ArtifactLocation.URI)
	}
	return problems
}

func TestSARIFIsScannable(t *testing.T) {
	for name, write := range goldens() {
		if !strings.HasSuffix(name, ".sarif") {
			continue
		}
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		for _, problem := range scannable(b.Bytes()) {
			t.Errorf("%s: %s", name, problem)
		}
	}
}

// The check finds what code scanning refuses.
func TestScannable(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("testdata", "review.sarif"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ remove, put, want string }{
		{`(?s)"locations": \[.*?\n          \]`, `"locations": []`, "expected at least one location"},
		{`(?s)"physicalLocation": \{.*?\n              \}`, `"message": {"text": "x"}`, "expected a physical location"},
		{`"startLine": \d+`, `"endLine": 1`, "expected a line"},
		{`"level": "note"`, `"level": "notice"`, "level"},
		{`"ruleIndex": 1,`, `"ruleIndex": 0,`, "its index is not that of its rule"},
		{`"help": \{\s*"text": "[^"]*"\s*\},`, ``, "lacks an explanation"},
		{`"helpUri": "https:`, `"helpUri": "no uri`, "helpUri"},
		{`"kind": "object"`, `"sort": "object"`, "sort"},
		{`"version": "2.1.0"`, `"version": "2.0.0"`, "version"},
	} {
		broken := regexp.MustCompile(c.remove).ReplaceAll(doc, []byte(c.put))
		if problems := scannable(broken); !strings.Contains(strings.Join(problems, "\n"), c.want) {
			t.Errorf("without %s the problems are %q, expected %s", c.remove, problems, c.want)
		}
	}
}

// Whatever is not known of its place, a result has the nearest one there is.
func TestPlaces(t *testing.T) {
	route := mizzen.Ref{Group: "networking.istio.io", Kind: "VirtualService", Namespace: "shop", Name: "reviews"}
	web := mizzen.Ref{Group: "apps", Kind: "Deployment", Namespace: "shop", Name: "web"}
	failed := mizzen.Finding{Code: mizzen.CodeRenderFailed, Message: "m", Origin: mizzen.Origin{File: "services/web"}}
	lost := mizzen.Finding{Code: mizzen.CodeNotJudged, Message: "m"}
	item := func(cluster string, findings []mizzen.Finding, changes ...mizzen.Change) mizzen.ReviewItem {
		return mizzen.ReviewItem{
			Application: "web", Path: "services/web", Cluster: cluster, Origin: mizzen.Origin{File: "apps/web.yaml", Line: 3}, Findings: findings, Changes: changes,
		}
	}
	change := func(ref mizzen.Ref, file string, line int) mizzen.Change {
		return mizzen.Change{Ref: ref, Action: mizzen.Update, Origin: mizzen.Origin{File: file, Line: 1}, Fields: []mizzen.FieldChange{
			{Path: "spec.x", Origin: mizzen.Origin{File: file, Line: line}},
		}}
	}
	effect := mizzen.Effect{Code: mizzen.EffectUnknown, Subject: "s", Message: "m"}
	of := func(e mizzen.Effect, change func(*mizzen.Effect)) []mizzen.Effect {
		change(&e)
		return []mizzen.Effect{e}
	}
	for name, c := range map[string]struct {
		review mizzen.Review
		want   string
	}{
		"known": {
			mizzen.Review{Effects: of(effect, func(e *mizzen.Effect) { e.Origin = mizzen.Origin{File: "a.yaml", Line: 7} })}, "a.yaml:7 s: m",
		},
		"no line": {
			mizzen.Review{Effects: of(effect, func(e *mizzen.Effect) { e.Origin = mizzen.Origin{File: "a.yaml"} })},
			"a.yaml:1 s: m (the place is approximate: the line is not known)",
		},
		"object": {
			mizzen.Review{
				Effects: of(effect, func(e *mizzen.Effect) { e.Cause = route }),
				Items:   []mizzen.ReviewItem{item("", nil, change(route, "r.yaml", 9))},
			}, "r.yaml:1 s: m (the place is approximate: the object is here)",
		},
		"application": {
			mizzen.Review{Items: []mizzen.ReviewItem{item("", []mizzen.Finding{failed})}},
			"apps/web.yaml:3 m (the place is approximate: the application is declared here)",
		},
		"change of the mesh": {
			mizzen.Review{Effects: []mizzen.Effect{effect}, Items: []mizzen.ReviewItem{item("", nil, change(web, "w.yaml", 4), change(route, "r.yaml", 9))}},
			"r.yaml:9 s: m (the place is approximate: this changes)",
		},
		"change in its cluster": {
			mizzen.Review{
				Effects: of(effect, func(e *mizzen.Effect) { e.Cluster = "west" }),
				Items:   []mizzen.ReviewItem{item("east", nil, change(route, "r.yaml", 9)), item("west", nil, change(web, "w.yaml", 4))},
			}, "w.yaml:4 s: m in cluster west (the place is approximate: this changes)",
		},
		"manifest": {
			mizzen.Review{Findings: []mizzen.Finding{lost}, Items: []mizzen.ReviewItem{item("", nil)}},
			"apps/web.yaml:3 m (the place is approximate: no file is known to bring it)",
		},
		"nothing": {
			mizzen.Review{Findings: []mizzen.Finding{lost}}, ".mizzen.yaml:1 m (the place is approximate: no file is known to bring it)",
		},
	} {
		c.review.Finish()
		var got []string
		for _, f := range placedReview(&c.review) {
			got = append(got, f.Origin.String()+" "+f.Message)
		}
		if !slices.Equal(got, []string{c.want}) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestFileURI(t *testing.T) {
	for file, want := range map[string]string{
		"a/b c,100%.yaml": "a/b%20c,100%25.yaml", "a:b.yaml": "./a:b.yaml", "a#b?c.yaml": "a%23b%3Fc.yaml", "ä.yaml": "%C3%A4.yaml",
	} {
		if got := fileURI(file); got != want {
			t.Errorf("%s is %s, want %s", file, got, want)
		}
	}
}
