package match

import (
	"regexp"
	"regexp/syntax"
	"strings"
	"sync"
)

// maxProgram is the size of a compiled expression above which it counts as
// invalid: the limit that Istio gives Envoy (re2.max_program_size.error_level).
const maxProgram = 32768

// cacheBudget bounds what the cache of expressions holds, in instructions; one
// takes some 50 bytes.
const cacheBudget = 1 << 20

// expressions are the compiled forms of what configurations contain. Whoever
// compiles one beyond the budget empties the cache first.
var expressions = struct {
	sync.RWMutex
	held map[string]*expression
	cost int
}{held: map[string]*expression{}}

// expression is a regular expression of a configuration. Both are nil if it is
// invalid: Envoy rejects the whole resource then, so that nothing in it ever
// matches.
type expression struct {
	// whole matches a text from end to end, part any piece of it.
	whole, part *regexp.Regexp
}

// compiled returns an expression from the cache, or compiles it. Envoy's RE2
// and Go's regexp have the same syntax and the same bound: time linear in the
// text.
func compiled(expr string) *expression {
	expressions.RLock()
	e := expressions.held[expr]
	expressions.RUnlock()
	if e != nil {
		return e
	}
	e, cost := compile(expr)
	expressions.Lock()
	defer expressions.Unlock()
	if expressions.cost+cost > cacheBudget {
		clear(expressions.held)
		expressions.cost = 0
	}
	expressions.held[expr] = e
	expressions.cost += cost
	return e
}

// TooLarge tells whether an expression that istiod takes is more than Envoy
// does, which then refuses all that it came with; size is that of the compiled
// expression, and most the largest that is taken.
func TooLarge(expr string) (size, most int, tooLarge bool) {
	tree, err := parse(expr)
	if err != nil {
		return 0, maxProgram, false
	}
	prog, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return 0, maxProgram, false
	}
	return len(prog.Inst), maxProgram, len(prog.Inst) > maxProgram
}

// compile returns the expression and what it costs to keep.
func compile(expr string) (*expression, int) {
	cost := len(expr)/16 + 8
	tree, err := parse(expr)
	if err != nil {
		return &expression{}, cost
	}
	prog, err := syntax.Compile(tree.Simplify())
	if err != nil || len(prog.Inst) > maxProgram {
		return &expression{}, cost
	}
	cost += 2 * len(prog.Inst)
	whole, err := regexp.Compile(`\A(?:` + expr + `)\z`)
	if err != nil {
		return &expression{}, cost
	}
	part, err := regexp.Compile(expr)
	if err != nil {
		return &expression{}, cost
	}
	return &expression{whole: whole, part: part}, cost
}

// parse parses an expression on its own, so that "a)(b" does not become valid
// by what is put around it.
func parse(expr string) (*syntax.Regexp, error) {
	if len(expr) > maxProgram {
		return nil, &syntax.Error{Code: syntax.ErrLarge, Expr: expr[:32]}
	}
	return syntax.Parse(expr, syntax.Perl)
}

// matches reports whether the whole text matches; an invalid expression
// matches nothing.
func (e *expression) matches(text string) bool {
	return e.whole != nil && e.whole.MatchString(text)
}

// replace replaces every match as RE2's GlobalReplace does: \1 to \9 are
// groups, \0 is the whole match. A substitution that refers to a group that
// there is not leaves the text as it is.
func (e *expression) replace(text, substitution string) string {
	if e.part == nil {
		return text
	}
	template, ok := goTemplate(substitution, e.part.NumSubexp())
	if !ok {
		return text
	}
	return e.part.ReplaceAllString(text, template)
}

// goTemplate turns RE2's \1 into Go's ${1}.
func goTemplate(substitution string, groups int) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(substitution); i++ {
		c := substitution[i]
		if c == '$' {
			b.WriteString("$$")
			continue
		}
		if c != '\\' {
			b.WriteByte(c)
			continue
		}
		i++
		switch {
		case i < len(substitution) && substitution[i] == '\\':
			b.WriteByte('\\')
		case i < len(substitution) && substitution[i] >= '0' && int(substitution[i]-'0') <= groups && substitution[i] <= '9':
			b.WriteString("${" + substitution[i:i+1] + "}")
		default:
			return "", false
		}
	}
	return b.String(), true
}
