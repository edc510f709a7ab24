package render_test

import (
	"fmt"
	"testing"

	"mizzen.dev/mizzen/internal/render"
	"mizzen.dev/mizzen/internal/render/memtree"
)

// BenchmarkPlain is a ConfigMap of 2 KB through the pipe, one at a time.
func BenchmarkPlain(b *testing.B) {
	p := newPool(b, render.PoolConfig{Workers: 1})
	tree := memtree.Tree{}
	text := configMapText("a", 1)
	for i := range 20 {
		text += fmt.Sprintf("  key%d: %0100d\n", i, i)
	}
	tree["a/cm.yaml"] = text
	for b.Loop() {
		if _, err := p.Render(b.Context(), tree, render.Options{Path: "a", Renderer: render.Plain, FieldOrigins: true}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkObjects is a thousand objects at once.
func BenchmarkObjects(b *testing.B) {
	p := newPool(b, render.PoolConfig{Workers: 1})
	tree := memtree.Tree{}
	for i := range 1000 {
		tree[fmt.Sprintf("a/%d.yaml", i)] = configMapText(fmt.Sprint("cm", i), i)
	}
	for b.Loop() {
		if _, err := p.Render(b.Context(), tree, render.Options{Path: "a", Renderer: render.Plain, FieldOrigins: true}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStart is a worker from nothing to its first output.
func BenchmarkStart(b *testing.B) {
	p := newPool(b, render.PoolConfig{Workers: 1, Jobs: 1})
	for b.Loop() {
		if _, err := p.Render(b.Context(), memtree.Tree{"a/b": "x"}, render.Options{Path: "a", Renderer: files}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkKept is a request that a kept result answers.
func BenchmarkKept(b *testing.B) {
	m := newMemo(b, 1<<20)
	for b.Loop() {
		if _, err := m.Render(b.Context(), memtree.Tree{"a/b": "x"}, appA); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkHolding is the same without reading the result.
func BenchmarkHolding(b *testing.B) {
	m := newMemo(b, 1<<20)
	tree := memtree.Tree{"a/b": "x"}
	if _, err := m.Render(b.Context(), tree, appA); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, ok := m.Holding(tree, appA); !ok {
			b.Fatal("it does not hold")
		}
	}
}
