package git

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const someID = "0123456789abcdefghij"

func TestParseTree(t *testing.T) {
	data := "100644 a.b\x00" + someID + "40000 a\x00" + someID + "120000 l\x00" + someID + "160000 s\x00" + someID + "100755 x y\x00" + someID
	got, err := parseTree([]byte(data), 20)
	if err != nil {
		t.Fatal(err)
	}
	want := []entry{
		{"a", someID, modeDirectory},
		{"a.b", someID, 0o100644},
		{"l", someID, modeLink},
		{"s", someID, modeSubmodule},
		{"x y", someID, 0o100755},
	}
	if diff := cmp.Diff(want, got.entries, cmp.AllowUnexported(entry{})); diff != "" {
		t.Error(diff)
	}
	if _, ok := got.find("a.b"); !ok {
		t.Error("an entry is not found")
	}
	if _, ok := got.find("b"); ok {
		t.Error("an entry is found that is not there")
	}
}

func TestParseTreeRefuses(t *testing.T) {
	for _, data := range []string{
		"100644", "100644 a", "100644 a\x00", "100644 a\x00short", "100644 \x00" + someID, "100644 .\x00" + someID,
		"100644 ..\x00" + someID, "100644 a/b\x00" + someID, " a\x00" + someID, "8 a\x00" + someID,
		"777777777777 a\x00" + someID, "0 a\x00" + someID, "-1 a\x00" + someID,
		"100644 a\x00" + someID + "40000 a\x00" + someID,
	} {
		if got, err := parseTree([]byte(data), 20); err == nil {
			t.Errorf("parseTree(%q) = %v", data, got)
		}
	}
}

func FuzzParseTree(f *testing.F) {
	f.Add([]byte("100644 a\x00"+someID+"40000 b\x00"+someID), false)
	f.Fuzz(func(t *testing.T, data []byte, long bool) {
		size := 20
		if long {
			size = 32
		}
		got, err := parseTree(data, size)
		if err != nil {
			return
		}
		total := 0
		for i, e := range got.entries {
			total += len(e.name) + size + 2
			if len(e.id) != size || e.name == ".." || strings.ContainsAny(e.name, "/\x00") {
				t.Fatalf("entry %q", e.name)
			}
			if found, ok := got.find(e.name); !ok || found != e {
				t.Fatalf("entry %d, %q, is not found", i, e.name)
			}
		}
		if total > len(data) {
			t.Fatalf("%d bytes out of %d", total, len(data))
		}
		if !slices.IsSortedFunc(got.entries, func(a, b entry) int { return strings.Compare(a.name, b.name) }) {
			t.Fatal("not sorted")
		}
	})
}

func TestParseCommit(t *testing.T) {
	id := oid(someID)
	tree := strings.Repeat("ab", 20)
	data := "tree " + tree + "\nparent " + tree + "\nauthor Ada \x1b[31m Lovelace <ada@example.com> 1700000000 +0100\n" +
		"committer C <c@example.com> 1700000001 +0100\ngpgsig -----BEGIN\n tree 123\n -----END\n\n" +
		strings.Repeat("ü", 150) + "\n\ntree body\n"
	c, err := parseCommit(id, []byte(data))
	if err != nil {
		t.Fatal(err)
	}
	if c.Author != "Ada [31m Lovelace" || len(c.Subject) != 200 || !c.Time.Equal(time.Unix(1_700_000_001, 0)) || c.tree.hex() != tree {
		t.Errorf("%+v", c)
	}
	for _, bad := range []string{"", "tree x\n\n", "tree " + tree + "\ntree " + tree + "\n\nx", "author a\n\nx", "tree " + tree + "00\n\n"} {
		if c, err := parseCommit(id, []byte(bad)); err == nil {
			t.Errorf("parseCommit(%q) = %+v", bad, c)
		}
	}
	for _, odd := range []string{"", "author \ncommitter x> 99999999999999999999 +0000", "committer y", "author <>"} {
		if _, err := parseCommit(id, []byte("tree "+tree+"\n"+odd+"\n\n")); err != nil {
			t.Errorf("with %q: %v", odd, err)
		}
	}
}

func FuzzParseCommit(f *testing.F) {
	f.Add([]byte("tree " + strings.Repeat("ab", 20) + "\nauthor A <a> 1 +0\ncommitter A <a> 1 +0\n\nsubject\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parseCommit(someID, data)
		if err != nil {
			return
		}
		if len(c.Subject) > maxSubject || len(c.Author) > maxSubject || strings.ContainsAny(c.Subject+c.Author, "\n\x1b") {
			t.Fatalf("%+v", c)
		}
		if _, err := c.Time.MarshalJSON(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestTreeBomb: a few trees that hold each other many times are millions of
// directories to who walks them.
func TestTreeBomb(t *testing.T) {
	o := &objects{cache: newCache(1 << 20)}
	id := func(level int) oid { return oid(fmt.Sprintf("%020d", level)) }
	link := entry{"link", id(99), modeLink}
	o.cache.put(cacheKey{o, 'b', string(id(99))}, []byte("x"), 1)
	o.cache.put(cacheKey{o, 't', string(id(0))}, &tree{[]entry{link}}, 1)
	for level := 1; level <= 12; level++ {
		down := &tree{}
		for i := range 10 {
			down.entries = append(down.entries, entry{fmt.Sprint("d", i), id(level - 1), modeDirectory})
		}
		o.cache.put(cacheKey{o, 't', string(id(level))}, down, 1)
	}
	s := newSnapshot(o, &commit{tree: id(12)})
	if id, err := s.ID("."); err == nil {
		t.Errorf("ID of a bomb: %s", id)
	}
	if _, err := s.ID("d1/d2"); err == nil {
		t.Error("ID of a smaller bomb")
	}
	if _, err := s.Stat("d1/d2/d3/d4/d5/d6/d7/d8/d9/d0/d1/d2"); err != nil {
		t.Error(err)
	}
}

func TestCacheIsBounded(t *testing.T) {
	for _, kind := range []byte{'t', content} {
		c := newCache(100_000)
		p := c.part(cacheKey{kind: kind})
		if kind == content && p.max > 10_000 {
			t.Errorf("contents may take %d bytes of 100,000", p.max)
		}
		owner := &objects{}
		for i := range 10_000 {
			c.put(cacheKey{owner, kind, fmt.Sprint(i)}, i, 100)
		}
		most := int(p.max / (100 + entryCost))
		if p.size > p.max || p.lru.Len() > most || p.lru.Len() < most/2 {
			t.Errorf("%c: %d entries of %d bytes", kind, p.lru.Len(), p.size)
		}
		c.put(cacheKey{owner, kind, "huge"}, 1, p.max*9/10)
		if _, ok := c.get(cacheKey{owner, kind, "huge"}); ok {
			t.Errorf("%c: an entry as large as the cache is kept", kind)
		}
		if _, ok := c.get(cacheKey{owner, kind, "9999"}); !ok {
			t.Errorf("%c: the latest entry is gone", kind)
		}
		c.drop(owner)
		if p.size != 0 || p.lru.Len() != 0 {
			t.Errorf("%c: after drop: %d entries of %d bytes", kind, p.lru.Len(), p.size)
		}
	}
}
