package compile

import (
	"math"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"mizzen.dev/mizzen/internal/traffic"
)

// maxResources bounds the views that a mesh keeps for each direction, by their
// virtual hosts, clusters, endpoints and filter chains together: what one sidecar
// sends among 1,000 services has 5,000, what it accepts has 10.
const maxResources = 50_000

// views are the compiled parts, by what decides about them (see alike). A part
// is compiled when it is asked for, since most questions are about few of them,
// and those that were not asked for the longest are let go.
type views struct {
	parts map[string]*traffic.Part
	kept  *simplelru.LRU[string, *traffic.View]
	size  int
}

func newViews() *views {
	v := &views{parts: map[string]*traffic.Part{}}
	v.kept = lru(math.MaxInt, func(_ string, gone *traffic.View) { v.size -= sizeOf(gone) })
	return v
}

// lru returns a cache of at most size entries.
func lru[K comparable, V any](size int, gone func(K, V)) *simplelru.LRU[K, V] {
	cache, err := simplelru.NewLRU(size, gone)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return cache
}

func sizeOf(v *traffic.View) int {
	n := len(v.Clusters) + len(v.Endpoints)
	for _, r := range v.Routes {
		n += len(r.GetVirtualHosts())
	}
	for _, l := range v.Inbound {
		n += len(l.GetFilterChains())
	}
	return n
}

// part returns the part of a key.
func (v *views) part(key string, compile func() *traffic.View) *traffic.Part {
	if v.parts[key] == nil {
		v.parts[key] = traffic.NewPart(func() *traffic.View { return v.of(key, compile) })
	}
	return v.parts[key]
}

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
