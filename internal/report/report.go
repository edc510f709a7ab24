// Package report writes the vocabulary for people and programs: Plans,
// Findings, and the state of Applications become text, markdown, JSON or YAML,
// and Findings also the formats of code hosts (SARIF, annotations).
//
// Values come in, bytes go out; nothing is asked of a cluster, and the time is
// an argument. What comes from a repository or a cluster cannot steer the
// terminal that it is shown on.
package report

import (
	"encoding/json"
	"fmt"
	"strings"

	"mizzen.dev/mizzen"
)

// mark is the sign of an action in a plan.
func (s Style) mark(a mizzen.Action) painted {
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
