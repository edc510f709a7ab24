package main

import (
	"fmt"
	"html"
	"regexp"
	"strings"
	"unicode/utf8"
)

// The terminal's measures in pixels, and its width in characters.
const (
	fontSize   = 13
	charWidth  = 7.83 // of a monospaced font at fontSize
	lineHeight = 19
	margin     = 20
	header     = 36
	columns    = 118
)

// colors are for what a line begins with, or contains.
var colors = []struct {
	re    *regexp.Regexp
	class string
}{
	{regexp.MustCompile(`^==> .*`), "dim"},
	{regexp.MustCompile(`^\s+~ .*`), "change"},
	{regexp.MustCompile(`^digest .*`), "dim"},
	{regexp.MustCompile(`✓ \w+|^The demo is synced.*`), "good"},
	{regexp.MustCompile(`-> \S+|→ [0-9]+`), "change"},
}

// svg draws lines as a terminal shows them. The same lines give the same
// picture.
func svg(lines []line) string {
	lines = wrap(lines)
	width := columns*charWidth + 2*margin
	height := header + len(lines)*lineHeight + margin
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %d" role="img" aria-label="make up, a plan and a push in a terminal">
<style>
  text { font: %dpx ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #d7dae0; white-space: pre }
  .prompt { fill: #7fb4ff } .command { fill: #ffffff; font-weight: 600 } .dim { fill: #8a919e } .good { fill: #7ee2a8 } .change { fill: #f5c76b }
</style>
<rect width="100%%" height="100%%" rx="10" fill="#171a21"/>
<circle cx="22" cy="20" r="6" fill="#ff6058"/><circle cx="42" cy="20" r="6" fill="#ffbd2e"/><circle cx="62" cy="20" r="6" fill="#28c840"/>
`, width, height, fontSize)
	for i, l := range lines {
		y := header + (i+1)*lineHeight - 4
		fmt.Fprintf(&b, `<text x="%d" y="%d" xml:space="preserve">%s</text>`+"\n", margin, y, spans(l))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func spans(l line) string {
	if l.command {
		return `<tspan class="prompt">$ </tspan><tspan class="command">` + html.EscapeString(l.text) + `</tspan>`
	}
	for _, c := range colors {
		if at := c.re.FindStringIndex(l.text); at != nil {
			return html.EscapeString(l.text[:at[0]]) + `<tspan class="` + c.class + `">` + html.EscapeString(l.text[at[0]:at[1]]) + `</tspan>` + html.EscapeString(l.text[at[1]:])
		}
	}
	return html.EscapeString(l.text)
}

// wrap breaks what is wider than the terminal.
func wrap(lines []line) []line {
	var out []line
	for _, l := range lines {
		for utf8.RuneCountInString(l.text) > columns {
			runes := []rune(l.text)
			at := strings.LastIndexByte(string(runes[:columns]), ' ')
			if at <= 0 {
				at = len(string(runes[:columns]))
			}
			out = append(out, line{l.text[:at], l.command})
			l.text = "      " + strings.TrimLeft(l.text[at:], " ")
		}
		out = append(out, l)
	}
	return out
}
