// Package report writes the vocabulary for people and programs: a Plan or a
// list of Findings becomes text, markdown, JSON or YAML. The formats of code
// hosts (SARIF, annotations) cover Findings.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"

	"mizzen.dev/mizzen"
)

// Style says how text may look.
type Style struct {
	// Color allows escape sequences.
	Color bool
}

// paint wraps s in an escape sequence if the style allows it.
func (s Style) paint(code, text string) string {
	if !s.Color {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

const (
	green  = "32"
	red    = "31"
	yellow = "33"
	faint  = "2"
	bold   = "1"
)

// mark is the sign of an action in a plan.
func (s Style) mark(a mizzen.Action) string {
	switch a {
	case mizzen.Create:
		return s.paint(green, "+")
	case mizzen.Update:
		return s.paint(yellow, "~")
	case mizzen.Replace:
		return s.paint(red, "±")
	case mizzen.Delete:
		return s.paint(red, "-")
	case mizzen.Keep:
		return s.paint(yellow, "!")
	case mizzen.Skip:
		return s.paint(faint, "?")
	case mizzen.None:
		return s.paint(faint, "=")
	}
	return " "
}

// Value returns a field's value on one line of at most 80 characters; an
// absent one is "(none)".
func Value(v any) string {
	const most = 80
	var text string
	switch v := v.(type) {
	case nil:
		return "(none)"
	case string:
		text = v
		if v == "" || strings.ContainsFunc(v, unprintable) {
			text = fmt.Sprintf("%q", v)
		}
	default:
		b, err := json.Marshal(v)
		if err != nil {
			return fmt.Sprint(v)
		}
		text = string(b)
	}
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most-1]) + "…"
	}
	return text
}

// unprintable tells whether a character could move a terminal's cursor or
// change what is already written.
func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// plain makes text from a repository or a cluster safe for a terminal.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unprintable(r) && r != '\n' {
			return '\uFFFD'
		}
		return r
	}, s)
}

// errWriter keeps the first error, so that a report reads like text.
type errWriter struct {
	w   io.Writer
	err error
}

func (w *errWriter) printf(format string, args ...any) {
	if w.err == nil {
		_, w.err = fmt.Fprintf(w.w, format, args...)
	}
}
