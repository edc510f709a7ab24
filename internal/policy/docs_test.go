package policy

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"mizzen.dev/mizzen"
)

// The reference says what the source says.
func TestReference(t *testing.T) {
	content, err := os.ReadFile("../../docs/reference/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(content)
	for _, g := range Guardrails() {
		row := fmt.Sprintf("| `%s` | %s | %s | %s | %s |\n", g.Name, g.Level, g.Message, g.Effects, g.Remedy)
		if !strings.Contains(text, row) {
			t.Errorf("docs/reference/policy.md lacks the row\n%s", row)
		}
	}
	if rows := strings.Count(text[strings.Index(text, "## Guardrails"):strings.Index(text, "### Effects that pass")], "\n| `"); rows != len(Guardrails()) {
		t.Errorf("%d rows for %d guardrails", rows, len(Guardrails()))
	}
	for code, why := range letPass {
		if row := fmt.Sprintf("| `%s` | %s |\n", code, why); !strings.Contains(text, row) {
			t.Errorf("docs/reference/policy.md lacks the row\n%s", row)
		}
	}
	// The example parses, and so do the expressions.
	blocks := regexp.MustCompile("(?s)```(yaml|cel)\n(.*?)```").FindAllStringSubmatch(text, -1)
	seen := map[string]int{}
	for _, b := range blocks {
		seen[b[1]]++
		documents := []string{b[2]}
		if b[1] == "cel" {
			documents = nil
			for line := range strings.Lines(b[2]) {
				documents = append(documents, withRule("warn", strings.TrimSpace(line), ""))
			}
		}
		for _, document := range documents {
			p, err := Parse(FileName, []byte(document))
			if err != nil {
				t.Errorf("%s: %v", document, err)
				continue
			}
			for _, r := range p.Judge(t.Context(), rulesInput(t)).Reasons {
				if strings.Contains(r.Message, "cannot be evaluated") {
					t.Errorf("%s: %s", document, r.Message)
				}
			}
		}
	}
	if seen["yaml"] != 1 || seen["cel"] != 1 {
		t.Errorf("examples: %v", seen)
	}
}

// An example that sets an unknown level would be refused; every level is one.
func TestLevels(t *testing.T) {
	for _, level := range mizzen.Levels {
		if _, err := Parse(FileName, []byte("policy: {guardrails: {mtls-weakened: "+string(level)+"}}")); err != nil {
			t.Error(err)
		}
	}
}
