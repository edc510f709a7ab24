// Package webhook receives the pushes that forges announce, so that a commit is
// fetched at once instead of at the next poll. A request goes in; out comes
// which Repository to fetch, if the request proves that it knows the secret.
//
// A push is a hint and nothing more: what is fetched, and whether, is decided
// by what Git then says. So a replayed request costs one fetch, and those are
// limited per Repository.
package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"mizzen.dev/mizzen"
)

// Forge is the kind of server that announces a push.
type Forge string

// The forges.
const (
	GitHub    Forge = "GitHub"
	GitLab    Forge = "GitLab"
	Gitea     Forge = "Gitea" // and Forgejo
	Bitbucket Forge = "Bitbucket"
	// Generic is any server that signs a small document of ours: see the
	// headers and fields at generic.
	Generic Forge = "Generic"
)

// Push is what was announced. It is not to be believed before it is verified.
type Push struct {
	Forge Forge
	// URLs are those of the repository as the forge writes them, for https, ssh
	// and the browser, without duplicates.
	URLs []string
	// Ref is refs/heads/… or refs/tags/…; empty if several changed at once.
	Ref string
	// Before and After are full object ids; empty where the ref did not exist
	// before, does not exist any more, or is not told.
	Before, After string
	// Paths are the changed files, sorted, as far as the forge seems to tell
	// them all; nil if it does not. They are good for a log and for what to
	// look at first, not for leaving work out: GitLab does not say that a push
	// was forced.
	Paths []string
}

// Message is a parsed request that is not verified yet.
type Message struct {
	Push Push
	// Ignored: the event is no push, such as the ping that a forge sends to
	// try out a new webhook. Its signature is worth checking all the same.
	Ignored bool

	proof proof
}

const (
	// MaxBody is the longest body that is read, in bytes. GitHub would send up
	// to 25 MB, but a push of thousands of commits is found by the next poll.
	MaxBody = 5 << 20

	maxURLs  = 16
	maxText  = 2048
	maxPaths = 10_000
)

// ErrSignature is the cause of every refusal: unsigned, wrongly signed, or for
// a repository that nobody registered. A stranger cannot tell which.
var ErrSignature = errors.New("no repository has a webhook secret that signs this request")

func forbidden() error {
	return &mizzen.Error{
		Kind: mizzen.Forbidden, Object: "webhook", Err: ErrSignature,
		Remedy: "set the same secret in the forge and in the Secret that webhookSecretRef names",
	}
}

func invalid(why string) error {
	return &mizzen.Error{Kind: mizzen.Invalid, Object: "webhook", Err: errors.New(why)}
}

// Parse reads a request of a known forge. It fails with Kind Invalid if the
// request is not of the documented form, and TooLarge if the body is longer than
// MaxBody. Nothing is verified yet: see Message.SignedBy.
func Parse(header http.Header, body []byte) (Message, error) {
	if len(body) > MaxBody {
		return Message{}, &mizzen.Error{
			Kind: mizzen.TooLarge, Object: "webhook", Err: fmt.Errorf("body is longer than %d bytes", MaxBody),
		}
	}
	f := detect(header)
	if f == nil {
		return Message{}, invalid("request has no header of a known forge")
	}
	m := Message{proof: f.proof(header, body)}
	m.Push.Forge = f.name
	document, err := payload(header, body)
	if err != nil {
		return Message{}, err
	}
	event := strings.ToLower(header.Get(f.event))
	m.Ignored = f.pushes != nil && !slices.Contains(f.pushes, event)
	err = f.parse(document, &m.Push)
	switch {
	case errors.Is(err, errNoPush):
		m.Ignored = true
	case err != nil:
		return Message{}, err
	}
	return m, m.Push.check(m.Ignored)
}

// payload returns the JSON document of a body: all of it, or its form field
// "payload".
func payload(header http.Header, body []byte) ([]byte, error) {
	kind, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil {
		return nil, invalid("content type is missing or malformed")
	}
	switch kind {
	case "application/json":
		return body, nil
	case "application/x-www-form-urlencoded":
		form, err := url.ParseQuery(string(body))
		if err != nil || !form.Has("payload") {
			return nil, invalid("form has no field payload")
		}
		return []byte(form.Get("payload")), nil
	}
	return nil, invalid("content type is neither application/json nor application/x-www-form-urlencoded")
}

// decode reads JSON without echoing it: what a stranger sent stays out of logs.
func decode(document []byte, into any) error {
	if err := json.NewDecoder(bytes.NewReader(document)).Decode(into); err != nil {
		return invalid("payload is not JSON of the documented form")
	}
	return nil
}

// check bounds and cleans what a stranger wrote.
func (p *Push) check(ignored bool) error {
	p.URLs = slices.DeleteFunc(p.URLs, func(u string) bool { return Key(u) == "" })
	slices.Sort(p.URLs)
	p.URLs = slices.Compact(p.URLs)
	p.URLs = p.URLs[:min(len(p.URLs), maxURLs)]
	p.Before, p.After = realID(p.Before), realID(p.After)
	p.Paths = completePaths(p.Paths)
	switch {
	case ignored:
		p.Ref, p.Before, p.After, p.Paths = "", "", "", nil
	case len(p.URLs) == 0:
		return invalid("payload names no repository")
	case p.Ref != "" && !plausibleRef(p.Ref):
		return invalid("ref is neither a branch nor a tag")
	case !isID(p.Before) || !isID(p.After):
		return invalid("before and after must be full object ids")
	}
	return nil
}

// realID makes the id of nothing, which is all zeros, empty.
func realID(id string) string {
	if strings.Trim(id, "0") == "" {
		return ""
	}
	return id
}

// isID accepts SHA-1 and SHA-256 object ids, and "".
func isID(id string) bool {
	return id == "" || (len(id) == 40 || len(id) == 64) && strings.Trim(id, "0123456789abcdef") == ""
}

func plausibleRef(ref string) bool {
	name, isBranch := strings.CutPrefix(ref, "refs/heads/")
	if !isBranch {
		var isTag bool
		if name, isTag = strings.CutPrefix(ref, "refs/tags/"); !isTag {
			return false
		}
	}
	return name != "" && len(ref) <= maxText && !strings.ContainsFunc(name, isControl)
}

// completePaths sorts the paths, or drops them all if one cannot be right.
func completePaths(paths []string) []string {
	if len(paths) == 0 || len(paths) > maxPaths {
		return nil
	}
	for _, p := range paths {
		if p == "" || len(p) > 2*maxText || strings.HasPrefix(p, "/") || strings.ContainsRune(p, 0) {
			return nil
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}
