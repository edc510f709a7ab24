package helm

import (
	"slices"
	"strings"
	"unicode/utf8"

	yamlv3 "go.yaml.in/yaml/v3"
)

// A page is what a template printed, with the place of every byte.
type page struct {
	text string
	// starts are the offsets at which spans begin, in order, places theirs.
	starts []int
	places []place
	// lines are the offsets at which lines of text begin.
	lines []int
}

// readPage takes the marks out of what a marked copy printed.
func readPage(marked string, places []place) *page {
	p := &page{}
	var text strings.Builder
	for rest := marked; rest != ""; {
		r, size := utf8.DecodeRuneInString(rest)
		if n := int(r) - firstMark; n >= 0 && n < len(places) {
			p.starts = append(p.starts, text.Len())
			p.places = append(p.places, places[n])
		} else {
			text.WriteString(rest[:size])
		}
		rest = rest[size:]
	}
	p.text = text.String()
	p.lines = append(p.lines, 0)
	for i := range len(p.text) {
		if p.text[i] == '\n' {
			p.lines = append(p.lines, i+1)
		}
	}
	return p
}

// at returns the place of a byte, and the end of the span that it is in.
func (p *page) at(offset int) (found place, end int, ok bool) {
	i := p.span(offset)
	if i < 0 {
		return place{}, 0, false
	}
	found, end = p.places[i], len(p.text)
	if i+1 < len(p.starts) {
		end = p.starts[i+1]
	}
	if found.action == nil && found.line > 0 {
		found.line += strings.Count(p.text[p.starts[i]:offset], "\n")
	}
	return found, end, true
}

// span returns the last span that begins at or before offset, -1 if there is
// none. Of spans that begin at the same byte, the last is the one that holds
// it; the others are empty.
func (p *page) span(offset int) int {
	low, high := 0, len(p.starts)
	for low < high {
		if mid := (low + high) / 2; p.starts[mid] <= offset {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low - 1
}

// offset returns where a node of the document that begins at start stands. A
// column counts characters.
func (p *page) offset(start int, n *yamlv3.Node) (int, bool) {
	first, found := slices.BinarySearch(p.lines, start)
	if !found {
		first--
	}
	line := first + n.Line - 1
	if n.Line < 1 || n.Column < 1 || line >= len(p.lines) {
		return 0, false
	}
	at := p.lines[line]
	// The first line of a document may begin after a separator.
	if n.Line == 1 {
		at = start
	}
	for range n.Column - 1 {
		if at >= len(p.text) || p.text[at] == '\n' {
			return 0, false
		}
		_, size := utf8.DecodeRuneInString(p.text[at:])
		at += size
	}
	return at, true
}

// content returns where the text of a scalar stands whose node begins at
// offset. It is false if the text is not there as it is, because of an escape
// or a fold.
func (p *page) content(offset int, value string) (start, end int, ok bool) {
	if p.text[offset] == '"' || p.text[offset] == '\'' {
		offset++
	}
	return offset, offset + len(value), strings.HasPrefix(p.text[offset:], value)
}
