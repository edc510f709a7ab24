package report

import (
	"fmt"
	"io"
	"slices"

	"mizzen.dev/mizzen"
)

// PlanText writes a Plan for a terminal: what happens to traffic, the worst
// first, then what happens to the objects, then what is wrong.
func PlanText(out io.Writer, p *mizzen.Plan, s Style) error {
	w := &printer{w: out}
	w.printf("%s at %s -> %s\n", s.paint(bold, p.Application.String()), p.Commit.Short(), p.Cluster)
	for i, e := range p.Effects {
		if i == 0 {
			w.printf("\n")
		}
		writeEffect(w, e, s)
	}
	if len(p.Effects) > 0 && len(p.Changes) > 0 {
		w.printf("\n")
	}
	for _, c := range p.Changes {
		writeChange(w, c, s)
	}
	if len(p.Findings) > 0 {
		w.printf("\n")
		writeFindings(w, p.Findings, s)
	}
	w.printf("\n%s\n", planSummary(p))
	if p.Verdict != nil {
		w.verdict(p.Verdict, s)
	}
	w.printf("%s\n", s.paint(faint, "digest "+p.Digest))
	return w.err
}

// planSummary is all that changes on one line.
func planSummary(p *mizzen.Plan) string {
	text := p.Counts().String()
	switch {
	case len(p.Effects) > 0:
		text += "; " + tallyImpacts(p.Effects)
	case p.Effects != nil:
		text += "; no effect on traffic"
	}
	return text
}

// PlanFindings are Effects and Findings in the one form that code hosts take,
// sorted.
func PlanFindings(p *mizzen.Plan) []mizzen.Finding {
	all := slices.Clone(p.Findings)
	for _, e := range p.Effects {
		all = append(all, effectFinding(e))
	}
	mizzen.SortFindings(all)
	return all
}

func writeChange(w *printer, c mizzen.Change, s Style) {
	w.printf("  %s %s", s.mark(c.Action), c.Ref)
	if at := c.Origin.String(); at != "" {
		w.printf("  %s", s.paint(faint, at))
	}
	w.printf("\n")
	if c.Reason != "" {
		w.printf("      %s\n", c.Reason)
	}
	for _, f := range c.Fields {
		w.printf("      %s: %s -> %s", f.Path, s.paint(red, Value(f.Before)), s.paint(green, Value(f.After)))
		if f.Manager != "" {
			w.printf("  (now of %s)", f.Manager)
		}
		if at := f.Origin.String(); at != "" && at != c.Origin.String() {
			w.printf("  %s", s.paint(faint, at))
		}
		w.printf("\n")
	}
	if c.NotVerified != "" {
		w.printf("      %s\n", s.paint(faint, "not verified: "+c.NotVerified))
	}
}

// FindingsText writes Findings for a terminal, one per line, the remedy below.
func FindingsText(out io.Writer, findings []mizzen.Finding, s Style) error {
	w := &printer{w: out}
	writeFindings(w, findings, s)
	return w.err
}

func writeFindings(w *printer, findings []mizzen.Finding, s Style) {
	color := map[mizzen.Severity]string{mizzen.Fatal: red, mizzen.Warning: yellow, mizzen.Info: faint}
	for _, f := range findings {
		w.printf("%s %s", s.paint(color[f.Severity], string(f.Severity)), f.Code)
		if at := f.Origin.String(); at != "" {
			w.printf(" %s", at)
		}
		if f.Ref.Kind != "" {
			w.printf(" %s", f.Ref)
		}
		w.printf(": %s\n", f.Message)
		if f.Remedy != "" {
			w.printf("    %s\n", s.paint(faint, f.Remedy))
		}
	}
}

// FindingLine is a Finding on one line: code, place or object, message.
func FindingLine(f mizzen.Finding) string {
	at := f.Origin.String()
	if at == "" {
		at = f.Ref.String()
	}
	return fmt.Sprintf("%s %s: %s", f.Code, at, plain(f.Message))
}
