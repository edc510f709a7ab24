package report

import (
	"fmt"
	"io"
	"reflect"
	"strings"
	"unicode"
)

// Style says how text may look.
type Style struct {
	// Color allows escape sequences.
	Color bool
}

// painted is text that has been made safe, and may hold our own escape
// sequences.
type painted string

// paint makes text safe, and wraps it in an escape sequence if the style
// allows it.
func (s Style) paint(code, text string) painted {
	text = plain(text)
	if !s.Color || text == "" {
		return painted(text)
	}
	return painted("\x1b[" + code + "m" + text + "\x1b[0m")
}

const (
	green  = "32"
	red    = "31"
	yellow = "33"
	faint  = "2"
	bold   = "1"
)

// unprintable tells whether a character could move a terminal's cursor or
// change what is already written.
func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// Plain makes text from a repository or a cluster safe for a terminal: it can
// neither move the cursor, nor reverse the direction of reading, nor begin a
// line of its own.
func Plain(s string) string { return plain(s) }

func plain(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case unprintable(r):
			return '\uFFFD'
		}
		return r
	}, s)
}

// printer writes text for people. It keeps the first error, so that a report
// reads like text, and makes every argument safe that is not painted: no
// caller can forget to.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) printf(format string, args ...any) {
	if p.err != nil {
		return
	}
	for i, a := range args {
		args[i] = safe(a)
	}
	_, p.err = fmt.Fprintf(p.w, format, args...)
}

func safe(a any) any {
	switch v := a.(type) {
	case painted:
		return v
	case error:
		return plain(v.Error())
	case fmt.Stringer:
		return plain(v.String())
	}
	if v := reflect.ValueOf(a); v.Kind() == reflect.String {
		return plain(v.String())
	}
	return a
}

// block writes text of several lines, each after the indent.
func (p *printer) block(indent, text string) {
	for line := range strings.Lines(strings.TrimRight(text, "\n")) {
		p.printf("%s%s\n", indent, strings.TrimRight(line, "\r\n"))
	}
}
