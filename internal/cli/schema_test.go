package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// reference is docs/reference/output.md as far as a program can hold us to it.
type reference struct {
	// schemas are those that a verb may write.
	schemas map[string][]string
	// fields are what the section of a noun names, and what all have.
	fields map[string][]string
}

var (
	quoted  = regexp.MustCompile("`[^`]+`")
	heading = regexp.MustCompile(`(?m)^## (.+)$`)
)

// unread are fields that hold anything: whole objects, and values of fields.
var unread = []string{"content", "before", "after"}

func words(text string) (words []string) {
	for _, w := range quoted.FindAllString(text, -1) {
		words = append(words, strings.Trim(w, "`"))
	}
	return words
}

func readReference(t *testing.T) reference {
	t.Helper()
	b, err := os.ReadFile("../../docs/reference/output.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	r := reference{schemas: map[string][]string{}, fields: map[string][]string{}}
	sections := heading.FindAllStringSubmatchIndex(text, -1)
	common := text[:sections[0][0]]
	everywhere, _, _ := strings.Cut(common, "\nWith ")
	for row := range strings.Lines(common) {
		if cells := strings.Split(row, "|"); len(cells) > 3 {
			for _, verb := range words(cells[1]) {
				verb, _, _ = strings.Cut(verb, " ")
				r.schemas[verb] = append(r.schemas[verb], words(cells[2])...)
			}
		}
	}
	for i, at := range sections {
		end := len(text)
		if i+1 < len(sections) {
			end = sections[i+1][0]
		}
		for noun := range strings.SplitSeq(text[at[2]:at[3]], ", ") {
			r.fields[noun] = append(words(text[at[1]:end]), words(everywhere)...)
		}
	}
	r.fields["status"] = append(r.fields["status"], r.fields["history"]...)
	for _, nouns := range [][2]string{{"application", "applications"}, {"repository", "repositories"}, {"cluster", "clusters"}, {"event", "events"}} {
		r.fields[nouns[0]] = r.fields[nouns[1]]
	}
	// Effects and the verdict of a plan are as in a review, and changes of a review
	// as in a plan.
	r.fields["plan"] = slices.Concat(r.fields["plan"], r.fields["findings"], r.fields["review"])
	r.fields["plans"] = append(slices.Clone(r.fields["plan"]), "items")
	r.fields["review"] = r.fields["plan"]
	return r
}

// check compares a document of -o json with the reference.
func (r reference) check(t *testing.T, verb, text string) {
	t.Helper()
	var doc map[string]any
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		t.Errorf("-o json: %v\n%s", err, text)
		return
	}
	schema, _ := doc["schema"].(string)
	if !slices.Contains(r.schemas[verb], schema) {
		t.Errorf("schema %q, the reference has %v for %s", schema, r.schemas[verb], verb)
		return
	}
	noun := strings.TrimSuffix(strings.TrimPrefix(schema, "mizzen.dev/"), "/v1")
	if noun == "render" {
		// The rest are the objects themselves.
		if _, list := doc["items"].([]any); !list || doc["kind"] != "List" || doc["apiVersion"] != "v1" {
			t.Errorf("what is rendered is no List:\n%s", text)
		}
		return
	}
	if items, has := doc["items"]; has {
		if _, list := items.([]any); !list {
			t.Errorf("items of %s is %T", schema, items)
		}
	}
	for _, problem := range r.problems(r.fields[noun], doc, "") {
		t.Errorf("docs/reference/output.md on %s: %s", schema, problem)
	}
}

// problems are what a value has that the reference does not name, or not so.
func (r reference) problems(fields []string, value any, path string) (problems []string) {
	switch v := value.(type) {
	case map[string]any:
		for key, inner := range v {
			at := path + "." + key
			if !slices.Contains(fields, key) {
				problems = append(problems, at+" is not named")
			}
			if !slices.Contains(unread, key) {
				problems = append(problems, r.problems(fields, inner, at)...)
			}
		}
	case []any:
		for i, inner := range v {
			problems = append(problems, r.problems(fields, inner, fmt.Sprintf("%s[%d]", path, i))...)
		}
	case string:
		key := path[strings.LastIndexByte(path, '.')+1:]
		if slices.Contains([]string{"time", "started", "applied", "changed"}, key) {
			if _, err := time.Parse(time.RFC3339, v); err != nil {
				problems = append(problems, path+": "+err.Error())
			}
		}
	}
	return problems
}
