package schema

import (
	"iter"
	"maps"
	"strings"
)

// closest returns the candidate that word was most likely meant to be, or ""
// if none is near: at most one edit in three characters, whatever the case.
func closest(word string, candidates iter.Seq[string]) string {
	const longest = 64
	if word == "" || len(word) > longest {
		return ""
	}
	lower := strings.ToLower(word)
	best, bestAt := "", max(1, len(word)/3)+1
	for c := range candidates {
		if len(c) > longest {
			continue
		}
		d := distance(lower, strings.ToLower(c))
		if d < bestAt || d == bestAt && best != "" && c < best {
			best, bestAt = c, d
		}
	}
	return best
}

// distance counts the insertions, deletions, substitutions and swaps of
// neighbors that make a into b (optimal string alignment).
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// Closest returns the key of candidates that word was most likely meant to be,
// or "" if none is near.
func Closest[V any](word string, candidates map[string]V) string {
	return closest(word, maps.Keys(candidates))
}
