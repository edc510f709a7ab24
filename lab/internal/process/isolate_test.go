package process

import "testing"

func TestSubordinate(t *testing.T) {
	for _, c := range []struct {
		what, text   string
		first, count int
		ok           bool
	}{
		{"by name", "root:1:2\nann:100000:65536\n", 100000, 65536, true},
		{"by id", "1000:200000:10", 200000, 10, true},
		{"first of two", "ann:5:6\nann:7:8\n", 5, 6, true},
		{"somebody else's", "anna:100000:65536\n", 0, 0, false},
		{"empty range", "ann:100000:0\n", 0, 0, false},
		{"damaged", "ann:x:65536\n:::\nann:1\n", 0, 0, false},
	} {
		first, count, ok := subordinate(c.text, "ann", "1000")
		if first != c.first || count != c.count || ok != c.ok {
			t.Errorf("%s: %d, %d, %v", c.what, first, count, ok)
		}
	}
}
