package report

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"mizzen.dev/mizzen"
)

// CommentMarker begins a Review in markdown, so that the comment that holds it
// is found again and updated in place. It is not seen.
const CommentMarker = "<!-- mizzen plan -->"

// maxComment bounds a comment, in characters: GitHub takes 65,536.
const maxComment = 60_000

// reserve is room for what ends a comment.
const reserve = 1_000

// ReviewMarkdown writes a Review as one comment of a pull request: effects in
// full, the rest folded, of at most 60,000 characters. What is cut is said.
func ReviewMarkdown(out io.Writer, r *mizzen.Review) error {
	c := &comment{}
	c.add(CommentMarker + "\n### Plan: " + prose(reviewSummary(r)) + "\n\n")
	if r.Live != nil {
		c.add("<sub>" + prose(completedBy(r.Live)) + "</sub>\n\n")
	}
	c.effects(r.Effects)
	if r.Verdict != nil && len(r.Verdict.Reasons) > 0 {
		c.verdict(r.Verdict)
	}
	c.findings(r.AllFindings())
	for i := range r.Items {
		c.item(&r.Items[i])
	}
	c.omitted(r.Omitted)
	end := fmt.Sprintf("<sub>%s since %s · digest %s</sub>\n", span(r.Head.Short()), span(r.Base.Short()), span(r.Digest))
	if c.cut > 0 {
		end = fmt.Sprintf("**This is not all**: %s did not fit into a comment. `mizzen plan --base` shows them in a clone.\n\n", count(c.cut, "row")) + end
	}
	_, err := io.WriteString(out, c.text.String()+end)
	return err
}

// comment grows up to its bound.
type comment struct {
	text strings.Builder
	size int
	// cut counts what did not fit.
	cut int
}

// add appends text if there is room for it, and for what must follow it.
func (c *comment) add(text string) bool {
	n := utf8.RuneCountInString(text)
	if c.size+n > maxComment-reserve {
		return false
	}
	c.text.WriteString(text)
	c.size += n
	return true
}

// table appends rows below a head, as far as they fit; end closes what the head
// opened, and takes no part in the bound, since it is short.
func (c *comment) table(head string, rows []string, end string) {
	if len(rows) == 0 {
		return
	}
	if !c.add(head) {
		c.cut += len(rows)
		return
	}
	for i, row := range rows {
		if !c.add(row) {
			c.cut += len(rows) - i
			break
		}
	}
	c.text.WriteString(end)
	c.size += utf8.RuneCountInString(end)
}

var impactSigns = map[mizzen.Impact]string{
	mizzen.ImpactDanger: "🔴 danger", mizzen.ImpactWarning: "🟠 warning", mizzen.ImpactNotice: "🔵 notice", mizzen.ImpactInfo: "⚪ info",
}

// effectsMarkdown writes Effects as a part of a comment.
func effectsMarkdown(out io.Writer, effects []mizzen.Effect) error {
	c := &comment{}
	c.effects(effects)
	return c.writeTo(out)
}

// writeTo writes what there is, and says what did not fit.
func (c *comment) writeTo(out io.Writer) error {
	text := c.text.String()
	if c.cut > 0 {
		text += fmt.Sprintf("**This is not all**: %s did not fit.\n\n", count(c.cut, "row"))
	}
	_, err := io.WriteString(out, text)
	return err
}

func (c *comment) effects(effects []mizzen.Effect) {
	var rows []string
	for _, e := range effects {
		text := fmt.Sprintf("**%s**: %s", prose(e.Subject), prose(e.Message))
		if e.Before != "" || e.After != "" {
			text += fmt.Sprintf("<br>%s → %s", span(orNothing(e.Before)), span(orNothing(e.After)))
		}
		if e.Witness != nil {
			text += fmt.Sprintf("<br>for example %s: %s → %s", span(witness(e.Witness)), span(e.Witness.Before), span(e.Witness.After))
		}
		var whom []string
		if e.Cluster != "" {
			whom = append(whom, "cluster "+span(e.Cluster))
		}
		if len(e.Callers) > 0 {
			whom = append(whom, span(callers(e.Callers)))
		}
		if len(e.OtherNamespaces) > 0 {
			whom = append(whom, "**other namespaces** "+span(callers(e.OtherNamespaces)))
		}
		if len(e.Owners) > 0 {
			whom = append(whom, "owners "+span(strings.Join(e.Owners, ", ")))
		}
		rows = append(rows, fmt.Sprintf("| %s<br>%s | %s | %s | %s |\n",
			impactSigns[e.Impact], e.Code, text, strings.Join(whom, "<br>"), span(e.Origin.String())))
	}
	c.table("| | effect | who | where |\n|---|---|---|---|\n", rows, "\n")
}

func (c *comment) findings(findings []mizzen.Finding) {
	var rows []string
	for _, f := range findings {
		rows = append(rows, fmt.Sprintf("| %s | %s | %s | %s |\n", f.Severity, f.Code, span(f.Origin.String()), prose(sentence(f))))
	}
	open := ""
	if mizzen.Worst(findings) == mizzen.Fatal {
		open = " open"
	}
	c.table(fmt.Sprintf("<details%s><summary>%s</summary>\n\n| severity | code | where | finding |\n|---|---|---|---|\n", open, count(len(findings), "finding")),
		rows, "\n</details>\n\n")
}

// item is one Application, folded: a table of its objects and their fields.
func (c *comment) item(i *mizzen.ReviewItem) {
	var rows []string
	if i.Failed != "" {
		rows = append(rows, fmt.Sprintf("| ❌ | %s | %s | |\n", prose(i.Failed), span(i.Path)))
	}
	for _, change := range i.Changes {
		rows = append(rows, fmt.Sprintf("| %s | %s | %s | %s |\n",
			change.Action, span(change.Ref.String()), prose(change.Reason), span(change.Origin.String())))
		for _, f := range change.Fields {
			rows = append(rows, fmt.Sprintf("| | %s | %s → %s | %s |\n",
				span(string(f.Path)), span(Value(f.Before)), span(Value(f.After)), span(f.Origin.String())))
		}
	}
	head := fmt.Sprintf("<details><summary><b>%s</b>: %s</summary>\n\n", markup(itemTitle(i)), markup(itemFate(i)))
	if len(rows) == 0 {
		c.table(head, []string{""}, "</details>\n\n")
		return
	}
	c.table(head+"| | object | change | where |\n|---|---|---|---|\n", rows, "\n</details>\n\n")
}

func (c *comment) omitted(findings []mizzen.Finding) {
	var rows []string
	for _, f := range findings {
		rows = append(rows, "- "+prose(omittedLine(f))+"\n")
	}
	c.table(fmt.Sprintf("<details><summary>%d not covered</summary>\n\n", len(findings)), rows, "\n</details>\n\n")
}

// span quotes a value as code within a table: it can neither end the cell nor
// the quotation, and nothing in it is markup, a link or a mention.
func span(s string) string {
	if s == "" {
		return ""
	}
	return "`" + strings.NewReplacer("`", "'", "|", `\|`).Replace(plain(s)) + "`"
}

// prose keeps text within its place: its markup is shown as it is written, and
// it mentions nobody, links to nothing and refers to no other pull request.
func prose(s string) string {
	var b strings.Builder
	for _, r := range plain(s) {
		switch {
		case strings.ContainsRune("\\`*_[]|~!", r):
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '<':
			b.WriteString("&lt;")
		case r == '>':
			b.WriteString("&gt;")
		case r == '&':
			b.WriteString("&amp;")
		case r == '@' || r == '#':
			b.WriteRune(r)
			b.WriteString(apart)
		default:
			b.WriteRune(r)
		}
	}
	return strings.NewReplacer("://", ":"+apart+"//", "www.", "www"+apart+".").Replace(b.String())
}

// apart is an empty comment: it parts what a forge would make a link of.
const apart = "<!-- -->"

// markup is prose within an HTML element, where markdown is not read.
func markup(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "@", "@"+apart, "#", "#"+apart).Replace(plain(s))
}
