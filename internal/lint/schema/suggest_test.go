package schema

import (
	"slices"
	"testing"

	"mizzen.dev/mizzen"
)

func TestClosest(t *testing.T) {
	fields := []string{"replicas", "selector", "template", "strategy", "paused", "minReadySeconds"}
	for word, want := range map[string]string{
		"replcas":         "replicas",
		"Replicas":        "replicas",
		"relpicas":        "replicas",
		"minreadyseconds": "minReadySeconds",
		"templates":       "template",
		"pause":           "paused",
		"image":           "",
		"x":               "",
		"":                "",
	} {
		if got := closest(word, slices.Values(fields)); got != want {
			t.Errorf("closest(%q) = %q, want %q", word, got, want)
		}
	}
	// A tie goes to the first in order, however they come.
	for _, order := range [][]string{{"bad", "bat"}, {"bat", "bad"}} {
		if got := closest("bax", slices.Values(order)); got != "bad" {
			t.Errorf("closest of %v = %q", order, got)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "abc", 0}, {"abc", "acb", 1}, {"kitten", "sitting", 3}, {"ab", "ba", 1}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestPathIn(t *testing.T) {
	object := map[string]any{
		"spec": map[string]any{
			"list":     []any{map[string]any{"a": int64(1)}},
			"portMtls": map[string]any{"8080": "x", "a.b": "y"},
		},
	}
	for in, want := range map[string]mizzen.Path{
		"<nil>":               "",
		"spec":                "spec",
		"spec.list[0].a":      "spec.list[0].a",
		"spec.list[7].a":      "spec.list[7].a",
		"spec.portMtls[8080]": `spec.portMtls.8080`,
		"spec.portMtls[a.b]":  `spec.portMtls["a.b"]`,
		"spec.absent[x].y":    "spec.absent.x.y",
		"spec[":               `spec[""]`,
	} {
		if got := pathIn(object, in); got != want {
			t.Errorf("pathIn(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzPathIn(f *testing.F) {
	f.Add("spec.list[0].a")
	f.Add("[[]..")
	f.Fuzz(func(_ *testing.T, s string) {
		pathIn(map[string]any{"spec": []any{map[string]any{}}}, s)
	})
}
