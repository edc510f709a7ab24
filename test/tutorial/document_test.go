package tutorial

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// part is a stretch of the document: text, then commands, then perhaps what
// they print.
type part struct {
	line     int
	prose    string
	commands string
	shows    bool
	output   string
}

// queries only look, and may be repeated.
var queries = regexp.MustCompile(`^(mizzen (plan|status|get|history|tree|events|render|lint)|kubectl (-n [a-z-]+ )?get|lab status) ?`)

// query tells whether the part only looks.
func (p part) query() bool {
	for line := range strings.Lines(p.commands) {
		if !queries.MatchString(line) {
			return false
		}
	}
	return true
}

// parse splits the document. A block ```sh holds commands, a block ```text
// right after it what they print.
func parse(text string) ([]part, error) {
	var parts []part
	current := part{}
	lines := strings.SplitAfter(text, "\n")
	for i := 0; i < len(lines); i++ {
		fence := strings.TrimSpace(lines[i])
		switch fence {
		case "```sh", "```text":
			var body strings.Builder
			start := i + 1
			for i++; i < len(lines) && strings.TrimSpace(lines[i]) != "```"; i++ {
				body.WriteString(lines[i])
			}
			if i == len(lines) {
				return nil, fmt.Errorf("line %d: the block does not end", start)
			}
			if fence == "```sh" {
				current.commands, current.line = body.String(), start
				parts = append(parts, current)
				current = part{}
				continue
			}
			if len(parts) == 0 || strings.TrimSpace(current.prose) != "" {
				return nil, fmt.Errorf("line %d: output without commands", start)
			}
			last := &parts[len(parts)-1]
			last.shows, last.output = true, body.String()
			current = part{}
		default:
			current.prose += lines[i]
		}
	}
	return append(parts, current), nil
}

// render is the document again.
func render(parts []part) string {
	var b strings.Builder
	for _, p := range parts {
		b.WriteString(p.prose)
		if p.commands == "" {
			continue
		}
		fmt.Fprintf(&b, "```sh\n%s```\n", p.commands)
		if p.shows {
			fmt.Fprintf(&b, "\n```text\n%s```\n", p.output)
		}
	}
	return b.String()
}

// varies is what differs from run to run, and what stands for it.
var varies = []struct {
	re   *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`sha256:[0-9a-f]+`), "DIGEST"},
	{regexp.MustCompile(`\b[0-9a-f]{7,40}\b`), "COMMIT"},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "ADDRESS"},
	{regexp.MustCompile(`just now|\b\d+ (s|min|h) ago`), "AGO"},
	{regexp.MustCompile(`\b(\d+[hm])?\d+(\.\d+)? ?(ms|s|m|min)\b`), "TIME"},
	{regexp.MustCompile(`[ \t]+`), " "},
	{regexp.MustCompile(`(?m)^ | $`), ""},
}

func normalize(text string) string {
	for _, v := range varies {
		text = v.re.ReplaceAllString(text, v.with)
	}
	return strings.TrimSpace(text)
}

// compare says where the output differs from the document; "" if nowhere. A
// line "…" of the document stands for any number of lines.
func compare(document, output string) string {
	var re strings.Builder
	re.WriteString(`\A`)
	for _, line := range strings.Split(normalize(document), "\n") {
		if line == "…" {
			re.WriteString(`(?:.*\n)*?`)
			continue
		}
		re.WriteString(regexp.QuoteMeta(line) + `\n`)
	}
	re.WriteString(`\z`)
	if regexp.MustCompile(re.String()).MatchString(normalize(output) + "\n") {
		return ""
	}
	have := map[string]bool{}
	for _, line := range strings.Split(normalize(output), "\n") {
		have[line] = true
	}
	for _, line := range strings.Split(normalize(document), "\n") {
		if line != "…" && !have[line] {
			return fmt.Sprintf("no line of the output is %q", line)
		}
	}
	return "the output has other lines, or others in between"
}

func TestCompare(t *testing.T) {
	document := "web  ✓ Ready  1234abcd  3 s ago\n…\ntook 5 ms\n"
	for output, same := range map[string]bool{
		"web ✓ Ready 99998888 just now\ntook 12 ms\n":          true,
		"web  ✓ Ready  99998888  1 min ago\nx\ny\ntook 1 ms\n": true,
		"web  ✗ Ready  99998888  1 min ago\ntook 1 ms\n":       false,
		"web  ✓ Ready  99998888  1 min ago\n":                  false,
		"web  ✓ Ready  99998888  1 min ago\ntook 1 ms\nmore\n": false,
	} {
		if got := compare(document, output) == ""; got != same {
			t.Errorf("%q: same is %v, want %v", output, got, same)
		}
	}
}

func TestParseKeepsTheDocument(t *testing.T) {
	text := "# A\n\n```sh\na\nb\n```\n\n```text\nout\n```\n\nB\n\n```sh\nc\n```\n\nend\n"
	parts, err := parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if got := render(parts); got != text {
		t.Errorf("got\n%s", got)
	}
	if len(parts) != 3 || !parts[0].shows || parts[1].shows {
		t.Errorf("%+v", parts)
	}
	for _, bad := range []string{"```sh\na\n", "```text\na\n```\n", "```sh\na\n```\nwords\n```text\na\n```\n"} {
		if _, err := parse(bad); err == nil {
			t.Errorf("no error for %q", bad)
		}
	}
}
