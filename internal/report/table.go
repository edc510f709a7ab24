package report

import (
	"strings"
	"unicode/utf8"
)

// table aligns columns. The last column is as long as it needs to be, so that
// a message in it is never cut.
type table struct {
	rows [][]painted
}

// add adds a row; cells that are not painted are made safe.
func (t *table) add(cells ...any) {
	row := make([]painted, len(cells))
	for i, c := range cells {
		switch v := c.(type) {
		case painted:
			row[i] = v
		case string:
			row[i] = painted(plain(v))
		}
		if row[i] == "" {
			row[i] = "-"
		}
	}
	t.rows = append(t.rows, row)
}

func (t *table) write(w *printer) {
	var widths []int
	for _, row := range t.rows {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], width(c))
		}
	}
	for _, row := range t.rows {
		for i, c := range row {
			if i == len(row)-1 {
				w.printf("%s\n", c)
				break
			}
			w.printf("%s%s", c, painted(strings.Repeat(" ", widths[i]-width(c)+2)))
		}
	}
}

// width counts the characters that are seen.
func width(s painted) int {
	n := 0
	for text := string(s); text != ""; {
		before, after, found := strings.Cut(text, "\x1b[")
		n += utf8.RuneCountInString(before)
		if !found {
			break
		}
		_, text, _ = strings.Cut(after, "m")
	}
	return n
}
