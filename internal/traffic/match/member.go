package match

import (
	"regexp/syntax"
	"slices"
	"strings"
)

// Bounds of generated texts.
const (
	maxMember  = 512
	maxMembers = 8
	maxSteps   = 20_000
)

// Members returns a few texts that a regular expression matches from end to
// end, shortest choices first: at most 8 of at most 512 bytes. It returns none
// if the expression is invalid, or if none was found, such as for one that only
// matches very long texts.
func Members(expr string) []string {
	tree, err := parse(expr)
	if err != nil {
		return nil
	}
	e := compiled(expr)
	var out []string
	for variant := range maxMembers {
		g := generator{variant: variant, steps: maxSteps}
		if !g.write(tree, variant) {
			continue
		}
		if s := g.text.String(); !slices.Contains(out, s) && e.matches(s) {
			out = append(out, s)
		}
	}
	return out
}

// generator writes one text.
type generator struct {
	text    strings.Builder
	variant int
	steps   int
}

// write appends a text that x matches. The variant chooses among alternatives
// and how often something is repeated; choice is what is left of it for the
// alternatives. It returns false if the text gets too long.
func (g *generator) write(x *syntax.Regexp, choice int) bool {
	if g.steps--; g.steps < 0 || g.text.Len() > maxMember {
		return false
	}
	switch x.Op {
	case syntax.OpNoMatch:
		return false
	case syntax.OpLiteral:
		g.text.WriteString(string(x.Rune))
	case syntax.OpCharClass:
		g.text.WriteRune(oneOf(x.Rune, g.variant))
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		g.text.WriteByte("xa7z"[g.variant%4])
	case syntax.OpAlternate:
		return g.write(x.Sub[choice%len(x.Sub)], choice/len(x.Sub))
	case syntax.OpStar, syntax.OpPlus, syntax.OpQuest, syntax.OpRepeat:
		for range g.times(x) {
			if !g.write(x.Sub[0], choice) {
				return false
			}
		}
	default:
		for _, sub := range x.Sub {
			if !g.write(sub, choice) {
				return false
			}
		}
	}
	return g.text.Len() <= maxMember
}

// times returns how often something is repeated.
func (g *generator) times(x *syntax.Regexp) int {
	switch x.Op {
	case syntax.OpStar:
		return g.variant % 3
	case syntax.OpPlus:
		return 1 + g.variant%2
	case syntax.OpQuest:
		return g.variant % 2
	}
	if x.Max < 0 || x.Max > x.Min {
		return x.Min + g.variant%2
	}
	return x.Min
}

// oneOf returns a rune of a class, one that is at home in a path if there is
// one.
func oneOf(class []rune, variant int) rune {
	const nice = "x7a-0Z_/.:@=~"
	in := func(r rune) bool {
		for i := 0; i+1 < len(class); i += 2 {
			if r >= class[i] && r <= class[i+1] {
				return true
			}
		}
		return false
	}
	for i := range len(nice) {
		if r := rune(nice[(i+variant)%len(nice)]); in(r) && (variant > 0 || i < 4 || !in('a')) {
			return r
		}
	}
	return class[0]
}
