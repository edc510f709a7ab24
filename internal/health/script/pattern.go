package script

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// maxPattern bounds a pattern in bytes.
const maxPattern = 256

// pattern is a Lua pattern as a regular expression. Lua's own matcher
// backtracks, so ".-.-.-.-x" keeps it busy for hours; Go's takes time in
// proportion to the text. Both prefer the same match.
type pattern struct {
	re *regexp.Regexp
	// positions marks the captures "()", whose value is a place in the text.
	positions []bool
	anchored  bool
}

var classes = map[byte]string{
	'a': `A-Za-z`, 'c': `\x00-\x1f\x7f`, 'd': `0-9`, 'l': `a-z`,
	'p': `!-/:-@\[-` + "`" + `{-~`, 's': `\t\n\v\f\r `, 'u': `A-Z`, 'w': `A-Za-z0-9`, 'x': `A-Fa-f0-9`,
}

var (
	errPatternEnd  = errors.New("malformed pattern (ends too early)")
	errUnsupported = errors.New("patterns with %b, %f or %1 are not supported")
)

// compilePattern translates the patterns of the Lua 5.1 manual, section 5.4.1,
// without balances, frontiers and back references.
func compilePattern(source string) (*pattern, error) {
	if len(source) > maxPattern {
		return nil, fmt.Errorf("pattern is longer than %d bytes", maxPattern)
	}
	t := translator{rest: source, pattern: &pattern{}}
	t.out.WriteString("(?s)")
	if strings.HasPrefix(t.rest, "^") {
		t.pattern.anchored = true
		t.out.WriteString(`\A`)
		t.rest = t.rest[1:]
	}
	for t.rest != "" {
		if err := t.item(); err != nil {
			return nil, err
		}
	}
	if t.open != 0 {
		return nil, errors.New("unfinished capture")
	}
	re, err := regexp.Compile(t.out.String())
	if err != nil {
		return nil, fmt.Errorf("malformed pattern %q", source)
	}
	t.pattern.re = re
	return t.pattern, nil
}

type translator struct {
	rest    string
	out     strings.Builder
	open    int
	pattern *pattern
}

// item translates a parenthesis, the final anchor, or a character class with
// its repetition.
func (t *translator) item() error {
	switch {
	case strings.HasPrefix(t.rest, "()"):
		t.pattern.positions = append(t.pattern.positions, true)
		t.take(2, "()")
	case t.rest[0] == '(':
		t.pattern.positions = append(t.pattern.positions, false)
		t.open++
		t.take(1, "(")
	case t.rest[0] == ')':
		if t.open--; t.open < 0 {
			return errors.New("invalid pattern capture")
		}
		t.take(1, ")")
	case t.rest == "$":
		t.take(1, `\z`)
	default:
		return t.single()
	}
	return nil
}

func (t *translator) take(n int, replacement string) {
	t.rest = t.rest[n:]
	t.out.WriteString(replacement)
}

func (t *translator) single() error {
	var err error
	switch t.rest[0] {
	case '.':
		t.take(1, ".")
	case '[':
		err = t.set()
	case '%':
		err = t.escape(false)
	default:
		t.take(1, regexp.QuoteMeta(t.rest[:1]))
	}
	if err != nil || t.rest == "" {
		return err
	}
	switch t.rest[0] {
	case '*', '+', '?':
		t.take(1, t.rest[:1])
	case '-':
		t.take(1, "*?")
	}
	return nil
}

// escape translates %d, %D or %. inside or outside of a set. An upper-case
// letter is the class without those characters.
func (t *translator) escape(inSet bool) error {
	if len(t.rest) < 2 {
		return errPatternEnd
	}
	c := t.rest[1]
	if !isLetter(c) && !isDigit(c) {
		t.take(2, regexp.QuoteMeta(t.rest[1:2]))
		return nil
	}
	class, known := classes[c|0x20]
	negated := c&0x20 == 0
	switch {
	case !known || !isLetter(c):
		return errUnsupported
	case inSet && negated:
		return errors.New("a negated class within a set is not supported")
	case inSet:
		t.take(2, class)
	case negated:
		t.take(2, "[^"+class+"]")
	default:
		t.take(2, "["+class+"]")
	}
	return nil
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// set translates [a-z%d_]. A "]" that comes first is itself.
func (t *translator) set() error {
	t.take(1, "[")
	if strings.HasPrefix(t.rest, "^") {
		t.take(1, "^")
	}
	for first := true; t.rest != ""; first = false {
		if t.rest[0] == ']' && !first {
			t.take(1, "]")
			return nil
		}
		if err := t.member(first); err != nil {
			return err
		}
	}
	return errors.New("malformed pattern (missing ']')")
}

// member translates one character, class or dash of a set.
func (t *translator) member(first bool) error {
	isRange := !first && len(t.rest) > 1 && t.rest[1] != ']'
	switch {
	case t.rest[0] == '%':
		return t.escape(true)
	case t.rest[0] == '-' && isRange:
		t.take(1, "-")
	default:
		t.take(1, setMember(t.rest[:1]))
	}
	return nil
}

func setMember(c string) string {
	if strings.Contains(`\[]^-&~`, c) {
		return `\` + c
	}
	return c
}
