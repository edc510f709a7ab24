package report

import (
	"bytes"
	"io"
	"strings"

	"mizzen.dev/mizzen"
)

// TraceMarkdown writes what becomes of a request for a comment: the outcomes as
// a table, and the hops folded.
func TraceMarkdown(out io.Writer, t *mizzen.Trace) error {
	w := &printer{w: out}
	w.printf("### %s: %s\n\n", code(question(&t.Request)), t.Fate)
	w.printf("| share | outcome | by | because | rule | where |\n|---|---|---|---|---|---|\n")
	for _, o := range t.Outcomes {
		name := ""
		if o.Rule.Ref.Kind != "" {
			name = ruleName(o.Rule)
		}
		words := strings.TrimSuffix(outcomeWords(&o, false), ":")
		w.printf("| %s | %s | %s | %s | %s | %s |\n", percent(o.Percent), words, code(o.By), cell(o.Message), code(name), code(o.Rule.Origin.String()))
	}
	var hops bytes.Buffer
	inner := &printer{w: &hops}
	for i := range t.Hops {
		writeHop(inner, i+1, &t.Hops[i], Style{})
	}
	// A fence longer than any run of backticks inside cannot be closed by it.
	fence := "```"
	for strings.Contains(hops.String(), fence) {
		fence += "`"
	}
	w.printf("\n<details><summary>%d hops</summary>\n\n%s\n", len(t.Hops), fence)
	w.block("", strings.TrimPrefix(hops.String(), "\n"))
	w.printf("%s\n\n</details>\n", fence)
	for _, note := range t.Notes {
		w.printf("\n%s\n", cell(note))
	}
	return w.err
}
