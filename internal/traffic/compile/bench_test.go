package compile_test

import (
	"fmt"
	"slices"
	"testing"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/meshtest"
	"mizzen.dev/mizzen/internal/traffic/compile"
)

// city reads a city of so many services.
func city(b *testing.B, services int) []mizzen.Object {
	b.Helper()
	objects, err := meshtest.Read(meshtest.City(services))
	if err != nil {
		b.Fatal(err)
	}
	return objects
}

func BenchmarkCompile(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		objects := city(b, n)
		b.Run(fmt.Sprintf("services=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := compile.Compile(b.Context(), objects, compile.Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// One weight changed among a thousand services.
func BenchmarkSlice(b *testing.B) {
	objects := city(b, 1000)
	changed := objects[2003:2004] // a VirtualService
	unchanged := slices.Concat(objects[:2003], objects[2004:])
	for b.Loop() {
		slice, _ := compile.Slice(unchanged, changed, compile.DefaultRoot)
		slice = append(slice, changed...)
		if _, err := compile.Compile(b.Context(), slice, compile.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
