package git

import (
	"crypto/sha1" //nolint:gosec // the hash is Git's
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"sync/atomic"

	"mizzen.dev/mizzen"
)

const (
	// maxTree bounds a tree or commit object, in bytes: 400,000 files in one
	// directory fit.
	maxTree = 32 << 20
	// maxCachedBlob is the size up to which a file is kept in memory.
	maxCachedBlob = 256 << 10
)

// objects reads the objects of one repository by their ids, and keeps what it
// parsed in a cache. Whatever it returns was checked against the hash that
// names it. It fails with unreadable where the repository could be damaged,
// which is for the caller to judge. It may be used concurrently.
type objects struct {
	run     *runner
	cat     *catFile
	cache   *cache
	maxFile int64
	// wounds is what the first damaged object looked like.
	wounds atomic.Pointer[string]
}

func newObjects(run *runner, c *cache, o Options) *objects {
	return &objects{run: run, cat: &catFile{run: run, idle: o.IdleTimeout}, cache: c, maxFile: o.MaxFileBytes}
}

func (o *objects) close() {
	o.cat.close()
	o.cache.drop(o)
}

// damaged says what was found wrong with the repository since it was made; ""
// for nothing.
func (o *objects) damaged() string {
	if w := o.wounds.Load(); w != nil {
		return *w
	}
	return ""
}

// replace runs do, which puts another repository in the place of this one.
func (o *objects) replace(do func() error) error {
	return o.cat.pause(func() error {
		if err := do(); err != nil {
			return err
		}
		o.wounds.Store(nil)
		o.cache.drop(o)
		return nil
	})
}

// unreadable is an object that was looked for by its id and is not there, or
// not as it should be.
type unreadable struct {
	id  string
	err error
}

func (u *unreadable) Error() string { return "object " + u.id + ": " + u.err.Error() }
func (u *unreadable) Unwrap() error { return u.err }

// damage notes that the repository does not hold what it must.
func (o *objects) damage(u *unreadable) error {
	why := u.Error()
	o.wounds.CompareAndSwap(nil, &why)
	return &mizzen.Error{
		Kind: mizzen.Unreachable, Object: "object " + u.id, Err: fmt.Errorf("the local copy of the repository is damaged: %w", u.err),
		Remedy: "nothing for a mirror, which the next fetch makes anew; for a clone see what `git fsck` says",
	}
}

// read returns an object that must exist, of the wanted kind, of at most limit
// bytes. A bigger one fails with errTooBig and its header.
func (o *objects) read(id oid, kind string, limit int64) (object, []byte, error) {
	name := id.hex()
	header, err := o.header(id)
	if err != nil {
		return header, nil, err
	}
	if header.kind != kind {
		return header, nil, &unreadable{name, fmt.Errorf("it is a %s and not a %s", header.kind, kind)}
	}
	if header.size > limit {
		return header, nil, errTooBig
	}
	_, data, err := o.cat.contents(name, limit)
	if err != nil {
		return header, nil, broken(name, err)
	}
	if err := verify(id, kind, data); err != nil {
		return header, nil, &unreadable{name, err}
	}
	return header, data, nil
}

// header returns kind and size of an object that must exist.
func (o *objects) header(id oid) (object, error) {
	key := cacheKey{o, 'h', string(id)}
	if v, ok := o.cache.get(key); ok {
		return v.(object), nil
	}
	header, err := o.cat.info(id.hex())
	if err != nil {
		return header, broken(id.hex(), err)
	}
	o.cache.put(key, header, int64(len(header.id)))
	return header, nil
}

func broken(name string, err error) error {
	if errors.Is(err, errClosed) {
		return err
	}
	return &unreadable{name, err}
}

// verify compares the content of an object with its id.
func verify(id oid, kind string, data []byte) error {
	var h hash.Hash
	if len(id) == sha256.Size {
		h = sha256.New()
	} else {
		h = sha1.New() //nolint:gosec // the hash is Git's
	}
	h.Write([]byte(kind + " " + strconv.Itoa(len(data)) + "\x00"))
	h.Write(data)
	if string(h.Sum(nil)) != string(id) {
		return errors.New("its content does not match its id")
	}
	return nil
}

func (o *objects) tree(id oid) (*tree, error) {
	key := cacheKey{o, 't', string(id)}
	if v, ok := o.cache.get(key); ok {
		return v.(*tree), nil
	}
	_, data, err := o.read(id, "tree", maxTree)
	if errors.Is(err, errTooBig) {
		return nil, &mizzen.Error{
			Kind: mizzen.TooLarge, Object: "directory " + id.hex(), Err: fmt.Errorf("it has more entries than fit in %d MiB", maxTree>>20),
			Remedy: "split the directory",
		}
	}
	if err != nil {
		return nil, err
	}
	t, err := parseTree(data, len(id))
	if err != nil {
		return nil, &mizzen.Error{
			Kind: mizzen.Invalid, Object: "directory " + id.hex(), Err: err,
			Remedy: "run `git fsck` in a clone, and rewrite the history that it names",
		}
	}
	o.cache.put(key, t, int64(len(data))+int64(len(t.entries))*48)
	return t, nil
}

// blob returns the content of a file of at most limit bytes. The caller must
// not change it.
func (o *objects) blob(id oid, limit int64) (object, []byte, error) {
	key := cacheKey{o, content, string(id)}
	if v, ok := o.cache.get(key); ok {
		data := v.([]byte)
		if int64(len(data)) > limit {
			return object{size: int64(len(data))}, nil, errTooBig
		}
		return object{size: int64(len(data))}, data, nil
	}
	header, data, err := o.read(id, "blob", limit)
	if err == nil && len(data) <= maxCachedBlob {
		o.cache.put(key, data, int64(len(data)))
	}
	return header, data, err
}

// commit returns a commit and the id of its tree. It fails with errNoObject if
// the repository has no such commit.
func (o *objects) commit(id oid) (*commit, error) {
	key := cacheKey{o, 'c', string(id)}
	if v, ok := o.cache.get(key); ok {
		return v.(*commit), nil
	}
	found, err := o.cat.info(id.hex())
	switch {
	case errors.Is(err, errNoObject) || err == nil && found.kind != "commit":
		return nil, errNoObject
	case err != nil:
		return nil, broken(id.hex(), err)
	}
	_, data, err := o.read(id, "commit", maxTree)
	if err != nil {
		return nil, err
	}
	c, err := parseCommit(id, data)
	if err != nil {
		return nil, &unreadable{id.hex(), err}
	}
	o.cache.put(key, c, 512)
	return c, nil
}

// peel returns the id of the commit that a name stands for. The name is an id
// or its beginning, or a ref.
func (o *objects) peel(name string) (oid, error) {
	found, err := o.cat.info(name + "^{commit}")
	if err != nil {
		return "", err
	}
	return parseID(found.id)
}

// oid is the binary form of an object id.
type oid string

func (id oid) hex() string { return hex.EncodeToString([]byte(id)) }

// parseID reads a full object id in hex.
func parseID(s string) (oid, error) {
	if !fullID(s) {
		return "", fmt.Errorf("%q is no object id", printable(s, 80))
	}
	b, err := hex.DecodeString(s)
	return oid(b), err
}

// fullID tells whether s is a complete id, of SHA-1 or SHA-256.
func fullID(s string) bool { return (len(s) == 40 || len(s) == 64) && isHex(s) }

func isHex(s string) bool {
	for i := range len(s) {
		if (s[i] < '0' || s[i] > '9') && (s[i] < 'a' || s[i] > 'f') {
			return false
		}
	}
	return true
}

// judge says what an unreadable object means to somebody who reads a commit:
// if the commit itself is gone, nothing is damaged. Other errors stay as they
// are.
func (o *objects) judge(id oid, err error) error {
	var u *unreadable
	if !errors.As(err, &u) {
		return err
	}
	if errors.Is(u.err, errNoObject) {
		if _, err := o.cat.info(id.hex()); errors.Is(err, errNoObject) {
			return &mizzen.Error{
				Kind: mizzen.NotFound, Object: "commit " + id.hex(), Err: errors.New("it is not in the repository any more"),
				Remedy: "push it to a branch again, or name another revision",
			}
		}
	}
	return o.damage(u)
}
