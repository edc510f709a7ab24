package report

import (
	"fmt"
	"io"
	"strings"

	"mizzen.dev/mizzen"
)

var (
	decisionWords  = map[mizzen.Decision]string{mizzen.Allow: "allowed", mizzen.NeedsApproval: "needs approval", mizzen.Deny: "denied"}
	decisionColors = map[mizzen.Decision]string{mizzen.Allow: green, mizzen.NeedsApproval: yellow, mizzen.Deny: red}
	decisionSigns  = map[mizzen.Decision]string{mizzen.Allow: "✅", mizzen.NeedsApproval: "🟠", mizzen.Deny: "⛔"}
	levelColors    = map[mizzen.Level]string{mizzen.LevelWarn: faint, mizzen.LevelApproval: yellow, mizzen.LevelDeny: red}
)

// VerdictText writes a Verdict for a terminal: the decision, each reason with
// what triggered it and what to do, and who must approve.
func VerdictText(out io.Writer, v *mizzen.Verdict, s Style) error {
	w := &printer{w: out}
	w.verdict(v, s)
	return w.err
}

func (w *printer) verdict(v *mizzen.Verdict, s Style) {
	w.printf("%s\n", s.paint(decisionColors[v.Decision], "verdict: "+verdictSummary(v)))
	for _, r := range v.Reasons {
		w.printf("  %s %s: %s\n", s.paint(levelColors[r.Level], string(r.Level)), r.Rule, r.Message)
		for _, t := range r.Triggers {
			w.printf("      %s", triggerText(t))
			if at := t.Origin.String(); at != "" {
				w.printf("  %s", s.paint(faint, at))
			}
			w.printf("\n")
		}
		if r.More > 0 {
			w.printf("      and %d more\n", r.More)
		}
		if r.Remedy != "" {
			w.printf("      %s\n", s.paint(faint, r.Remedy))
		}
	}
	for i, a := range v.Approvals {
		if i == 0 {
			w.printf("  who must approve:\n")
		}
		w.printf("      %s\n", approvalText(a))
	}
}

// verdictSummary is the decision, and how many rules are behind it: "denied by
// 2 rules; 1 warning".
func verdictSummary(v *mizzen.Verdict) string {
	n := map[mizzen.Level]int{}
	for _, r := range v.Reasons {
		n[r.Level]++
	}
	text := decisionWords[v.Decision]
	switch v.Decision {
	case mizzen.Deny:
		text += " by " + count(n[mizzen.LevelDeny], "rule")
	case mizzen.NeedsApproval:
		text += " by " + count(n[mizzen.LevelApproval], "rule")
	case mizzen.Allow:
	}
	if warnings := n[mizzen.LevelWarn]; warnings > 0 {
		text += "; " + count(warnings, "warning")
	}
	return text
}

// VerdictLine is a Verdict on one line, for the description of a commit status.
func VerdictLine(v *mizzen.Verdict) string { return verdictSummary(v) }

func triggerText(t mizzen.Trigger) string {
	text := strings.TrimSpace(t.Code + " " + t.Subject)
	if t.Message != "" {
		text += ": " + t.Message
	}
	return text
}

// approvalText is "2 of @a, @b (Database) for apps/db.yaml and 3 more".
func approvalText(a mizzen.Approval) string {
	text := fmt.Sprintf("%d of %s", a.Count, strings.Join(a.Owners, ", "))
	if len(a.Owners) == 0 {
		text = "somebody other than the author"
	}
	if a.Section != "" {
		text += " (" + a.Section + ")"
	}
	if len(a.For) > 0 {
		text += " for " + some(a.For)
	}
	return text
}

// some names the first of a list.
func some(list []string) string {
	const most = 5
	text := strings.Join(list[:min(most, len(list))], ", ")
	if more := len(list) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// VerdictMarkdown writes a Verdict as a part of a comment. Owners are named, but
// not mentioned: an update would not notify them anyway, and a forge asks for
// reviews by itself.
func VerdictMarkdown(out io.Writer, v *mizzen.Verdict) error {
	c := &comment{}
	c.verdict(v)
	return c.writeTo(out)
}

// verdict appends a Verdict: who must approve in full, the reasons as a table.
func (c *comment) verdict(v *mizzen.Verdict) {
	c.add(fmt.Sprintf("**%s %s**\n\n", decisionSigns[v.Decision], prose(verdictSummary(v))))
	var asked []string
	for _, a := range v.Approvals {
		asked = append(asked, "- "+approvalMarkdown(a)+"\n")
	}
	c.table("Who must approve:\n", asked, "\n")
	var rows []string
	for _, r := range v.Reasons {
		text := prose(r.Message)
		for _, t := range r.Triggers {
			text += "<br>" + span(triggerText(t))
			if at := t.Origin.String(); at != "" {
				text += " " + span(at)
			}
		}
		if r.More > 0 {
			text += fmt.Sprintf("<br>and %d more", r.More)
		}
		rows = append(rows, fmt.Sprintf("| %s | %s | %s | %s |\n", r.Level, span(r.Rule), text, prose(r.Remedy)))
	}
	open := ""
	if v.Decision != mizzen.Allow {
		open = " open"
	}
	c.table(fmt.Sprintf("<details%s><summary>%s</summary>\n\n| level | rule | why | what to do |\n|---|---|---|---|\n", open, count(len(rows), "rule")),
		rows, "\n</details>\n\n")
}

func approvalMarkdown(a mizzen.Approval) string {
	names := make([]string, 0, len(a.Owners))
	for _, o := range a.Owners {
		names = append(names, span(o))
	}
	text := fmt.Sprintf("%d of %s", a.Count, strings.Join(names, ", "))
	if len(names) == 0 {
		text = "somebody other than the author"
	}
	if a.Section != "" {
		text += " (" + prose(a.Section) + ")"
	}
	if len(a.For) > 0 {
		text += " for " + span(some(a.For))
	}
	return text
}
