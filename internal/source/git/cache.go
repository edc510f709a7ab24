package git

import (
	"math"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// cache keeps what was parsed most recently, for all mirrors together, bounded
// by an estimate of the memory that it takes. Contents of files have a small
// part of their own: most are read once, when their revision is rendered, while
// trees tell at every commit what it leaves untouched.
type cache struct {
	mu       sync.Mutex
	contents part
	others   part
}

// part is a share of the cache.
type part struct {
	lru  *simplelru.LRU[cacheKey, cached]
	size int64
	max  int64
}

// contentShare is which part of the cache contents of files may take: one in so
// many bytes.
const contentShare = 16

// content is the kind of a cacheKey whose value is a file's content.
const content = 'b'

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
	c := &cache{}
	c.contents.limit(maxBytes / contentShare)
	c.others.limit(maxBytes)
	return c
}

func (p *part) limit(maxBytes int64) {
	lru, err := simplelru.NewLRU(math.MaxInt, func(_ cacheKey, v cached) { p.size -= v.cost })
	if err != nil {
		panic(err) // only for a size below 1
	}
	p.lru, p.max = lru, maxBytes
}

// part returns where values of a key are.
func (c *cache) part(k cacheKey) *part {
	if k.kind == content {
		return &c.contents
	}
	return &c.others
}

func (c *cache) get(k cacheKey) (any, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.part(k).lru.Get(k)
	return v.value, ok
}

// entryCost is the estimate for the bookkeeping of one entry, in bytes.
const entryCost = 200

// put adds a value unless it alone would push out a large part of the others.
func (c *cache) put(k cacheKey, value any, cost int64) {
	p := c.part(k)
	cost += entryCost
	if cost > p.max/4 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.lru.Contains(k) {
		return
	}
	p.lru.Add(k, cached{value, cost})
	for p.size += cost; p.size > p.max; {
		p.lru.RemoveOldest()
	}
}

// drop removes what belongs to owner.
func (c *cache) drop(owner *objects) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range []*part{&c.contents, &c.others} {
		for _, k := range p.lru.Keys() {
			if k.owner == owner {
				p.lru.Remove(k)
			}
		}
	}
}
