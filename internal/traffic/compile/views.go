package compile

import (
	"math"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"mizzen.dev/mizzen/internal/traffic"
)

// maxResources bounds the views that a mesh keeps, by their routes, clusters
// and endpoints together: of 1,000 services one view has 5,000.
const maxResources = 200_000

// views are the compiled ones, by what decides about them (see alike). A view
// is compiled when it is asked for, since most questions are about few of
// them, and those that were not asked for the longest are let go.
type views struct {
	kept *simplelru.LRU[string, *traffic.View]
	size int
}

func newViews() *views {
	v := &views{}
	kept, err := simplelru.NewLRU(math.MaxInt, func(_ string, gone *traffic.View) { v.size -= sizeOf(gone) })
	if err != nil {
		panic(err) // only for a size below 1
	}
	v.kept = kept
	return v
}

func sizeOf(v *traffic.View) int { return len(v.Routes) + len(v.Clusters) + len(v.Endpoints) }

// of returns the view of a key, and compiles it if it is not kept.
func (v *views) of(key string, compile func() *traffic.View) *traffic.View {
	if found, ok := v.kept.Get(key); ok {
		return found
	}
	made := compile()
	v.kept.Add(key, made)
	for v.size += sizeOf(made); v.size > maxResources && v.kept.Len() > 1; {
		v.kept.RemoveOldest()
	}
	return made
}
