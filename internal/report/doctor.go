package report

import (
	"fmt"
	"io"
	"strings"
)

// Level is how a check came out.
type Level string

// The levels.
const (
	OK   Level = "ok"
	Warn Level = "warn"
	Fail Level = "fail"
)

// Check is one thing that was looked at.
type Check struct {
	Name    string `json:"name"`
	Level   Level  `json:"level"`
	Message string `json:"message"`
	// Remedy is what to do; empty if it is ok.
	Remedy string `json:"remedy,omitempty"`
}

// Checks is what a doctor found, in the order in which it looked.
type Checks struct {
	Items []Check `json:"items"`
}

// Failed tells whether a check failed.
func (c Checks) Failed() bool {
	for _, check := range c.Items {
		if check.Level == Fail {
			return true
		}
	}
	return false
}

// ChecksText writes checks for a terminal.
func ChecksText(out io.Writer, c Checks, s Style) error {
	w := &printer{w: out}
	var rows table
	count := map[Level]int{}
	for _, check := range c.Items {
		count[check.Level]++
		text := painted(plain(check.Message))
		if check.Remedy != "" {
			text += "; " + s.paint(bold, check.Remedy)
		}
		rows.add(s.level(check.Level), check.Name, text)
	}
	rows.write(w)
	var parts []string
	for _, l := range []Level{Fail, Warn, OK} {
		if count[l] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", count[l], l))
		}
	}
	w.printf("\n%s\n", strings.Join(parts, ", "))
	return w.err
}

func (s Style) level(l Level) painted {
	switch l {
	case OK:
		return s.paint(green, "✓ ok")
	case Warn:
		return s.paint(yellow, "! warn")
	case Fail:
	}
	return s.paint(red, "✗ fail")
}

func times(n int32) string { return fmt.Sprintf("%d times", n) }
