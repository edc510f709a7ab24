package git

import (
	"math"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// cache keeps what was parsed most recently, for all mirrors together, bounded
// by an estimate of the memory that it takes.
type cache struct {
	mu   sync.Mutex
	lru  *simplelru.LRU[cacheKey, cached]
	size int64
	max  int64
}

// cacheKey keeps repositories apart: to know an object's id is no permission
// to read it.
type cacheKey struct {
	owner *objects
	kind  byte
	id    string
}

type cached struct {
	value any
	cost  int64
}

func newCache(maxBytes int64) *cache {
	c := &cache{max: maxBytes}
	lru, err := simplelru.NewLRU(math.MaxInt, func(_ cacheKey, v cached) { c.size -= v.cost })
	if err != nil {
		panic(err) // only for a size below 1
	}
	c.lru = lru
	return c
}

func (c *cache) get(k cacheKey) (any, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.lru.Get(k)
	return v.value, ok
}

// entryCost is the estimate for the bookkeeping of one entry, in bytes.
const entryCost = 200

// put adds a value unless it alone would push out a large part of the others.
func (c *cache) put(k cacheKey, value any, cost int64) {
	cost += entryCost
	if cost > c.max/4 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lru.Contains(k) {
		return
	}
	c.lru.Add(k, cached{value, cost})
	for c.size += cost; c.size > c.max; {
		c.lru.RemoveOldest()
	}
}

// drop removes what belongs to owner.
func (c *cache) drop(owner *objects) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.lru.Keys() {
		if k.owner == owner {
			c.lru.Remove(k)
		}
	}
}
