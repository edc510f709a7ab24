package script

import (
	"fmt"
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// texts are the functions of the string library. Each pays for the bytes that
// it reads and makes before it does.
type texts struct {
	fuel     *fuel
	patterns map[string]*pattern
}

func (t *texts) functions() map[string]lua.LGFunction {
	return map[string]lua.LGFunction{
		"find":    t.find,
		"format":  t.format,
		"gmatch":  t.gmatch,
		"gsub":    t.gsub,
		"len":     t.length,
		"lower":   t.mapped(strings.ToLower),
		"match":   t.match,
		"rep":     t.repeat,
		"reverse": t.mapped(reverse),
		"sub":     t.sub,
		"upper":   t.mapped(strings.ToUpper),
	}
}

func (t *texts) length(l *lua.LState) int {
	l.Push(lua.LNumber(len(l.CheckString(1))))
	return 1
}

func (t *texts) mapped(fn func(string) string) lua.LGFunction {
	return func(l *lua.LState) int {
		s := l.CheckString(1)
		t.fuel.charge(l, len(s))
		l.Push(lua.LString(fn(s)))
		return 1
	}
}

func reverse(s string) string {
	b := []byte(s)
	for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
	return string(b)
}

func (t *texts) repeat(l *lua.LState) int {
	s, n := l.CheckString(1), max(0, l.CheckInt(2))
	if len(s) > 0 && n > budget*8/len(s) {
		n = budget * 8 / len(s)
	}
	t.fuel.charge(l, len(s)*n)
	l.Push(lua.LString(strings.Repeat(s, n)))
	return 1
}

func (t *texts) sub(l *lua.LState) int {
	s := l.CheckString(1)
	from, to := begin(len(s), l.CheckInt(2)), l.OptInt(3, -1)
	if to < 0 {
		to += len(s) + 1
	}
	to = min(to, len(s))
	if from >= to {
		l.Push(lua.LString(""))
		return 1
	}
	l.Push(lua.LString(s[from:to]))
	return 1
}

// begin turns Lua's first index, which counts from 1 or backwards from the end,
// into an offset that may be beyond the end.
func begin(length, index int) int {
	if index < 0 {
		index += length + 1
	}
	return max(0, index-1)
}

// compile pays for a search of text and returns the pattern.
func (t *texts) compile(l *lua.LState, source, text string) *pattern {
	t.fuel.charge(l, len(text)*(8+len(source))/4+64)
	if p, ok := t.patterns[source]; ok {
		return p
	}
	p, err := compilePattern(source)
	if err != nil {
		l.RaiseError("%s", err.Error())
	}
	const kept = 64
	if len(t.patterns) >= kept {
		clear(t.patterns)
	}
	t.patterns[source] = p
	return p
}

func (t *texts) find(l *lua.LState) int {
	s, source := l.CheckString(1), l.CheckString(2)
	from := begin(len(s), l.OptInt(3, 1))
	if from > len(s) {
		l.Push(lua.LNil)
		return 1
	}
	if lua.LVAsBool(l.Get(4)) {
		t.fuel.charge(l, len(s)+len(source))
		at := strings.Index(s[from:], source)
		if at < 0 {
			l.Push(lua.LNil)
			return 1
		}
		l.Push(lua.LNumber(from + at + 1))
		l.Push(lua.LNumber(from + at + len(source)))
		return 2
	}
	p := t.compile(l, source, s[from:])
	m := p.re.FindStringSubmatchIndex(s[from:])
	if m == nil {
		l.Push(lua.LNil)
		return 1
	}
	l.Push(lua.LNumber(from + m[0] + 1))
	l.Push(lua.LNumber(from + m[1]))
	return 2 + pushCaptures(l, p, s, from, m, false)
}

func (t *texts) match(l *lua.LState) int {
	s, source := l.CheckString(1), l.CheckString(2)
	from := begin(len(s), l.OptInt(3, 1))
	if from > len(s) {
		l.Push(lua.LNil)
		return 1
	}
	p := t.compile(l, source, s[from:])
	m := p.re.FindStringSubmatchIndex(s[from:])
	if m == nil {
		l.Push(lua.LNil)
		return 1
	}
	return pushCaptures(l, p, s, from, m, true)
}

// pushCaptures pushes the captures of a match, or the whole match if there are
// none and it is asked for.
func pushCaptures(l *lua.LState, p *pattern, s string, offset int, m []int, whole bool) int {
	if len(p.positions) == 0 {
		if !whole {
			return 0
		}
		l.Push(lua.LString(s[offset+m[0] : offset+m[1]]))
		return 1
	}
	for i := range p.positions {
		l.Push(capture(p, s, offset, m, i))
	}
	return len(p.positions)
}

func capture(p *pattern, s string, offset int, m []int, i int) lua.LValue {
	from, to := m[2*i+2], m[2*i+3]
	if p.positions[i] {
		return lua.LNumber(offset + from + 1)
	}
	return lua.LString(s[offset+from : offset+to])
}

func (t *texts) gmatch(l *lua.LState) int {
	s, source := l.CheckString(1), l.CheckString(2)
	at := 0
	l.Push(l.NewFunction(func(l *lua.LState) int {
		if at > len(s) {
			return 0
		}
		p := t.compile(l, source, s[at:])
		m := p.re.FindStringSubmatchIndex(s[at:])
		if m == nil {
			at = len(s) + 1
			return 0
		}
		offset := at
		at += m[1]
		if m[0] == m[1] {
			at++ // an empty match must not be found again
		}
		return pushCaptures(l, p, s, offset, m, true)
	}))
	return 1
}

func (t *texts) gsub(l *lua.LState) int {
	s, source, limit := l.CheckString(1), l.CheckString(2), l.OptInt(4, len(l.CheckString(1))+1)
	var out strings.Builder
	at, count := 0, 0
	for at <= len(s) && count < limit {
		p := t.compile(l, source, s[at:])
		m := p.re.FindStringSubmatchIndex(s[at:])
		if m == nil {
			break
		}
		count++
		replacement := t.replacement(l, p, s, at, m)
		t.fuel.charge(l, len(replacement)+m[0])
		out.WriteString(s[at : at+m[0]])
		out.WriteString(replacement)
		end := at + m[1]
		if m[0] == m[1] && end < len(s) {
			out.WriteByte(s[end])
		}
		if m[0] == m[1] {
			end++
		}
		at = end
		if p.anchored {
			break
		}
	}
	if at < len(s) {
		out.WriteString(s[at:])
	}
	l.Push(lua.LString(out.String()))
	l.Push(lua.LNumber(count))
	return 2
}

// replacement is what one match is replaced by: a text with %0 to %9, the value
// of a table, or what a function returns; the match itself if that is false.
func (t *texts) replacement(l *lua.LState, p *pattern, s string, offset int, m []int) string {
	matched := s[offset+m[0] : offset+m[1]]
	first := lua.LValue(lua.LString(matched))
	if len(p.positions) > 0 {
		first = capture(p, s, offset, m, 0)
	}
	var value lua.LValue
	switch by := l.CheckAny(3).(type) {
	case *lua.LTable:
		value = by.RawGet(first)
	case *lua.LFunction:
		l.Push(by)
		n := pushCaptures(l, p, s, offset, m, true)
		l.Call(n, 1)
		value = l.Get(-1)
		l.Pop(1)
	default:
		return t.expand(l, l.CheckString(3), matched, func(i int) string {
			if i > len(p.positions) {
				l.RaiseError("invalid capture index in replacement")
			}
			return capture(p, s, offset, m, i-1).String()
		})
	}
	if !lua.LVAsBool(value) {
		return matched
	}
	return value.String()
}

func (t *texts) expand(l *lua.LState, template, matched string, captured func(int) string) string {
	var out strings.Builder
	for i := 0; i < len(template); i++ {
		if template[i] != '%' || i+1 == len(template) {
			out.WriteByte(template[i])
			continue
		}
		i++
		switch c := template[i]; {
		case c == '0':
			t.fuel.charge(l, len(matched))
			out.WriteString(matched)
		case c >= '1' && c <= '9':
			s := captured(int(c - '0'))
			t.fuel.charge(l, len(s))
			out.WriteString(s)
		default:
			out.WriteByte(c)
		}
	}
	return out.String()
}

// format knows %s %q %d %i %u %x %X %f %g %e %c and %%, with flags and a width
// and precision of at most two digits, as Lua has it.
func (t *texts) format(l *lua.LState) int {
	template := l.CheckString(1)
	t.fuel.charge(l, len(template))
	var out strings.Builder
	argument := 1
	for template != "" {
		at := strings.IndexByte(template, '%')
		if at < 0 || at+1 == len(template) {
			out.WriteString(template)
			break
		}
		out.WriteString(template[:at])
		if template[at+1] == '%' {
			out.WriteByte('%')
			template = template[at+2:]
			continue
		}
		spec := specification(template[at:])
		if spec == "" {
			l.RaiseError("invalid option in format")
		}
		template = template[at+len(spec):]
		argument++
		piece := t.formatOne(l, spec, argument)
		t.fuel.charge(l, len(piece))
		out.WriteString(piece)
	}
	l.Push(lua.LString(out.String()))
	return 1
}

// specification returns the leading %[flags][width][.precision]verb, or "".
func specification(s string) string {
	rest := strings.TrimLeft(s[1:], "-+ #0")
	for _, prefix := range []string{"", "."} {
		if !strings.HasPrefix(rest, prefix) {
			continue
		}
		rest = rest[len(prefix):]
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		if digits > 2 {
			return ""
		}
		rest = rest[digits:]
	}
	if rest == "" || strings.IndexByte("sqdiuxXfgec", rest[0]) < 0 {
		return ""
	}
	return s[:len(s)-len(rest)+1]
}

func (t *texts) formatOne(l *lua.LState, spec string, argument int) string {
	flags, verb := spec[:len(spec)-1], spec[len(spec)-1]
	switch verb {
	case 's', 'q':
		s := l.CheckAny(argument).String()
		if _, isTable := l.Get(argument).(*lua.LTable); isTable {
			s = "table"
		}
		t.fuel.charge(l, len(s))
		return fmt.Sprintf(flags+string(rune(verb)), s)
	case 'f', 'g', 'e':
		return fmt.Sprintf(flags+string(rune(verb)), float64(l.CheckNumber(argument)))
	case 'i', 'u':
		verb = 'd'
	}
	return fmt.Sprintf(flags+string(rune(verb)), l.CheckInt64(argument))
}

// number reads a whole number.
func number(s string) (int, bool) {
	n, err := strconv.Atoi(strings.TrimSpace(s))
	return n, err == nil
}
