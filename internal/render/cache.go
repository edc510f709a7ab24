package render

import (
	"bytes"
	"container/list"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// DefaultCacheBytes is a good bound for the results of one installation.
const DefaultCacheBytes = 1 << 30

// maxPerRequest is how many results of one request are kept, for reverts and
// for branches that are rendered in turn.
const maxPerRequest = 8

// touchAfter is how old the last use on disk may be: it only orders eviction.
const touchAfter = time.Hour

// Cache keeps encoded outputs in files, so that no object stays in memory and
// a restart renders nothing again. A file holds what a rendering yielded,
// Secrets included: directory and files are for their owner alone. What is
// damaged counts as not there. It may be used by many goroutines.
//
// When the bound is reached, what was not used for longest goes first, but
// results of templates that would yield something else if they were rendered
// again go last of all.
type Cache struct {
	dir string
	max int64
	now func() time.Time

	mu       sync.Mutex
	bytes    int64
	requests map[string][]*kept // newest first
	digests  map[string]*kept
	// order holds *kept, the last used in front: what can be rendered again,
	// and what cannot.
	order, precious *list.List
}

// kept is one file of a Cache.
type kept struct {
	request, digest string
	bytes           int64
	touched         time.Time
	precious        bool
	key             *Key // nil until it was read
	place           *list.Element
}

// name is that of the file: what an index needs is in it.
func (k *kept) name() string {
	suffix := ".out"
	if k.precious {
		suffix = ".once"
	}
	return k.request[:32] + "-" + k.digest + suffix
}

// OpenCache returns the Cache in a directory, which it creates. maxBytes
// bounds the sum of the files. now is the clock; nil means time.Now.
func OpenCache(dir string, maxBytes int64, now func() time.Time) (*Cache, error) {
	if now == nil {
		now = time.Now
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("render cache: %w", err)
	}
	c := &Cache{
		dir: dir, max: maxBytes, now: now,
		requests: map[string][]*kept{}, digests: map[string]*kept{},
		order: list.New(), precious: list.New(),
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("render cache: %w", err)
	}
	var found []*kept
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		if k := parseName(e.Name()); k != nil {
			k.bytes, k.touched = info.Size(), info.ModTime()
			found = append(found, k)
		} else if strings.HasPrefix(e.Name(), temporary) && now().Sub(info.ModTime()) > touchAfter {
			_ = os.Remove(filepath.Join(dir, e.Name())) // of a process that was killed while it wrote
		}
	}
	slices.SortFunc(found, func(a, b *kept) int { return a.touched.Compare(b.touched) })
	for _, k := range found {
		c.insert(k)
	}
	c.evict(nil)
	return c, nil
}

// temporary begins the names of files that are being written.
const temporary = "new-"

func parseName(name string) *kept {
	base, suffix, _ := strings.Cut(name, ".")
	request, digest, ok := strings.Cut(base, "-")
	if !ok || len(request) != 32 || len(digest) != 64 || suffix != "out" && suffix != "once" {
		return nil
	}
	return &kept{request: request, digest: digest, precious: suffix == "once"}
}

// insert adds a file to the index as the last used; c.mu must be held, or the
// Cache not be known to anybody yet.
func (c *Cache) insert(k *kept) {
	request := k.request[:32]
	if old, ok := c.digests[k.digest]; ok {
		c.forget(old)
	}
	c.digests[k.digest] = k
	c.requests[request] = slices.Insert(c.requests[request], 0, k)
	c.bytes += k.bytes
	k.place = c.listOf(k).PushFront(k)
}

func (c *Cache) listOf(k *kept) *list.List {
	if k.precious {
		return c.precious
	}
	return c.order
}

// forget removes a file from the index.
func (c *Cache) forget(k *kept) {
	if c.digests[k.digest] != k {
		return
	}
	request := k.request[:32]
	delete(c.digests, k.digest)
	rest := slices.DeleteFunc(c.requests[request], func(x *kept) bool { return x == k })
	if c.requests[request] = rest; len(rest) == 0 {
		delete(c.requests, request)
	}
	c.bytes -= k.bytes
	c.listOf(k).Remove(k.place)
}

// evict removes files until the bound is kept, but never spare.
func (c *Cache) evict(spare *kept) {
	for _, l := range []*list.List{c.order, c.precious} {
		for c.bytes > c.max && l.Len() > 0 {
			k, _ := l.Back().Value.(*kept)
			if k == spare {
				break
			}
			c.drop(k)
		}
	}
}

// drop forgets a file and removes it.
func (c *Cache) drop(k *kept) {
	c.forget(k)
	_ = os.Remove(filepath.Join(c.dir, k.name())) // a file that stays is found at the next start
}

// find returns the newest result of the request that accept takes. It reads
// no more of a file than its Key.
func (c *Cache) find(request string, accept func(Key) bool) (Key, bool) {
	c.mu.Lock()
	candidates := slices.Clone(c.requests[request[:32]])
	c.mu.Unlock()
	for _, k := range candidates {
		key, err := c.keyOf(k)
		if err == nil && accept(*key) {
			return *key, true
		}
	}
	return Key{}, false
}

// keyOf returns the Key of a file, from memory or by reading its beginning.
func (c *Cache) keyOf(k *kept) (*Key, error) {
	c.mu.Lock()
	key := k.key
	c.mu.Unlock()
	if key != nil {
		return key, nil
	}
	f, err := os.Open(filepath.Join(c.dir, k.name()))
	if err == nil {
		defer f.Close()
		key, _, err = readHead(f)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil && key.Digest() != k.digest {
		err = errDamaged
	}
	if err != nil {
		c.drop(k)
		return nil, err
	}
	k.key = key
	return key, nil
}

// get returns the Key and the encoded output of a digest.
func (c *Cache) get(digest string) (*Key, []byte, bool) {
	c.mu.Lock()
	k, ok := c.digests[digest]
	if ok {
		c.listOf(k).MoveToFront(k.place)
	}
	c.mu.Unlock()
	if !ok {
		return nil, nil, false
	}
	key, raw, err := c.read(k)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.drop(k)
		return nil, nil, false
	}
	if now := c.now(); now.Sub(k.touched) > touchAfter {
		k.touched = now
		_ = os.Chtimes(filepath.Join(c.dir, k.name()), now, now) // the order of eviction is not worth an error
	}
	return key, raw, true
}

func (c *Cache) read(k *kept) (*Key, []byte, error) {
	f, err := os.Open(filepath.Join(c.dir, k.name()))
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	key, sum, err := readHead(f)
	if err != nil {
		return nil, nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(f, c.max+1))
	if err != nil {
		return nil, nil, err
	}
	if sha256.Sum256(raw) != sum || key.Digest() != k.digest {
		return nil, nil, errDamaged
	}
	return key, raw, nil
}

// put keeps a result. An error means that it is not kept, and nothing worse.
func (c *Cache) put(request string, key Key, raw []byte, precious bool) error {
	k := &kept{request: request[:32], digest: key.Digest(), precious: precious, key: &key, touched: c.now()}
	head, err := head(key, raw)
	if err != nil {
		return err
	}
	if k.bytes = int64(len(head) + len(raw)); k.bytes > c.max {
		return nil
	}
	if err := c.write(k, head, raw); err != nil {
		return fmt.Errorf("render cache: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.insert(k)
	for same := c.requests[k.request]; len(same) > maxPerRequest; same = c.requests[k.request] {
		c.drop(same[len(same)-1])
	}
	c.evict(k)
	return nil
}

// write makes the file appear as a whole. What cannot be rendered again is
// also forced to the disk.
func (c *Cache) write(k *kept, head, raw []byte) error {
	f, err := os.CreateTemp(c.dir, temporary) // mode 0600
	if errors.Is(err, fs.ErrNotExist) && os.MkdirAll(c.dir, 0o700) == nil {
		// Somebody removed the directory under us, as they may.
		f, err = os.CreateTemp(c.dir, temporary)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(head)
	if err == nil {
		_, err = f.Write(raw)
	}
	if err == nil && k.precious {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(c.dir, k.name()))
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the first error says it all
	}
	return err
}

// The form of a file: magic, length of the Key, checksums of Key and output,
// the Key as JSON, the output.
const (
	magic     = "mizzen-render/1\n"
	headBytes = len(magic) + 4 + 2*sha256.Size
	maxKey    = 64 << 20
)

// errDamaged is a file that is not what was written.
var errDamaged = errors.New("damaged")

func head(key Key, raw []byte) ([]byte, error) {
	text, err := json.Marshal(key)
	if err != nil {
		return nil, err
	}
	keySum, rawSum := sha256.Sum256(text), sha256.Sum256(raw)
	out := binary.BigEndian.AppendUint32([]byte(magic), uint32(len(text)))
	return slices.Concat(out, keySum[:], rawSum[:], text), nil
}

// readHead reads up to where the output begins, whose checksum it returns.
func readHead(r io.Reader) (*Key, [sha256.Size]byte, error) {
	var sum [sha256.Size]byte
	fixed := make([]byte, headBytes)
	if _, err := io.ReadFull(r, fixed); err != nil {
		return nil, sum, err
	}
	rest, ok := bytes.CutPrefix(fixed, []byte(magic))
	if !ok {
		return nil, sum, errDamaged
	}
	n := binary.BigEndian.Uint32(rest)
	if n > maxKey {
		return nil, sum, errDamaged
	}
	text, err := io.ReadAll(io.LimitReader(r, int64(n)))
	if err != nil {
		return nil, sum, err
	}
	if keySum := sha256.Sum256(text); !bytes.Equal(keySum[:], rest[4:4+sha256.Size]) {
		return nil, sum, errDamaged
	}
	copy(sum[:], rest[4+sha256.Size:])
	key := &Key{}
	return key, sum, json.Unmarshal(text, key)
}
