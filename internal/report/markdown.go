package report

import (
	"io"
	"strings"

	"mizzen.dev/mizzen"
)

// PlanMarkdown writes a Plan for a comment: a summary, and the fields folded.
func PlanMarkdown(out io.Writer, p *mizzen.Plan) error {
	w := &printer{w: out}
	w.printf("### Plan of `%s` at `%s`: %s\n\n", p.Application, p.Commit.Short(), planSummary(p))
	if len(p.Effects) > 0 && w.err == nil {
		w.err = effectsMarkdown(out, p.Effects)
	}
	if len(p.Changes) > 0 {
		w.printf("| | object | where |\n|---|---|---|\n")
		for _, c := range p.Changes {
			w.printf("| %s | %s | %s |\n", c.Action, code(c.Ref.String()), code(c.Origin.String()))
		}
		w.printf("\n")
	}
	markdownFields(w, p.Changes)
	markdownFindings(w, p.Findings)
	if p.Verdict != nil && w.err == nil {
		w.err = VerdictMarkdown(out, p.Verdict)
	}
	w.printf("<sub>digest `%s`</sub>\n", p.Digest)
	return w.err
}

func markdownFields(w *printer, changes []mizzen.Change) {
	n := 0
	for _, c := range changes {
		n += len(c.Fields)
	}
	if n == 0 {
		return
	}
	w.printf("<details><summary>%d fields</summary>\n\n| object | field | before | after |\n|---|---|---|---|\n", n)
	for _, c := range changes {
		for _, f := range c.Fields {
			w.printf("| %s | %s | %s | %s |\n", code(c.Ref.String()), code(string(f.Path)), code(Value(f.Before)), code(Value(f.After)))
		}
	}
	w.printf("\n</details>\n\n")
}

func markdownFindings(w *printer, findings []mizzen.Finding) {
	if len(findings) == 0 {
		return
	}
	w.printf("| severity | code | where | finding |\n|---|---|---|---|\n")
	for _, f := range findings {
		text := f.Message
		if f.Remedy != "" {
			text += ". " + f.Remedy
		}
		w.printf("| %s | %s | %s | %s |\n", f.Severity, f.Code, code(f.Origin.String()), cell(text))
	}
	w.printf("\n")
}

// code quotes a value from a repository or a cluster so that it can neither
// end the cell nor the code span, nor mention people.
func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + cell(strings.ReplaceAll(s, "`", "'")) + "`"
}

// cell keeps text within one cell of a table, and free of markup.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "\r", " ", "<", "&lt;").Replace(s)
}
