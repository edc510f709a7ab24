package git

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"mizzen.dev/mizzen"
)

// symptom is how the git command, curl or ssh say that something went wrong,
// and what that means for the user.
type symptom struct {
	says   *regexp.Regexp
	kind   mizzen.Kind
	cause  string
	remedy string
}

// symptoms are in order: the first one that matches counts, so what is
// specific comes before what merely accompanies it.
var symptoms = []symptom{
	{
		regexp.MustCompile(`REMOTE HOST IDENTIFICATION HAS CHANGED`), mizzen.Forbidden,
		"the server's host key is not the one in known_hosts",
		"find out whether the server's key was changed on purpose; if so, replace it in known_hosts of the Secret",
	},
	{
		regexp.MustCompile(`Host key verification failed|host key is known for`), mizzen.Forbidden,
		"the server's host key is unknown",
		"add the line that `ssh-keyscan` prints for the server to known_hosts of the Secret, after comparing it with the fingerprint that its administrator publishes",
	},
	{
		regexp.MustCompile(`SSL certificate problem|certificate verif|SSL: no alternative certificate|certificate subject name|server certificate|CAfile`), mizzen.Forbidden,
		"the server's certificate is not trusted",
		"put the authority that signed it into caFile of the Secret",
	},
	{
		regexp.MustCompile(`Authentication failed|could not read (Username|Password)|terminal prompts disabled|returned error: 40[13]\b|Permission denied \(|Access denied|Invalid username or (password|token)`), mizzen.Forbidden,
		"the server refuses the credentials",
		"check the Secret of the repository's credentials: is it there, does it still hold, may it read this repository",
	},
	{
		regexp.MustCompile(`fsck error|fsckObjects|error in (packed )?object|fsck`), mizzen.Invalid,
		"the repository holds a malformed object",
		"run `git fsck` in a clone, and rewrite the history that it names",
	},
	{
		regexp.MustCompile(`mismatched algorithms|different object format|object-format`), mizzen.Invalid,
		"the repository names its objects by SHA-256, which is not supported yet",
		"use a repository with SHA-1 ids",
	},
	{
		regexp.MustCompile(`No space left on device|Disk quota exceeded`), mizzen.TooLarge,
		"there is no space left for the mirror",
		"enlarge the volume of Mizzen's state directory",
	},
	{
		regexp.MustCompile(`transport '[^']*' not allowed|redirect|unable to update url base`), mizzen.Refused,
		"the server sends us to another place, which Mizzen does not follow",
		"write the address that it sends to as the repository's URL",
	},
	{
		regexp.MustCompile(`(?i)repository '?[^\n]*'? ?(not found|does not exist)|does not appear to be a git repository|is this a git repository|returned error: 404|project you were looking for could not be found`), mizzen.NotFound,
		"there is no such repository, or the credentials may not see it",
		"check the URL; a private repository needs credentials that may read it",
	},
	{
		regexp.MustCompile(`Could not resolve|Name or service not known|Temporary failure in name resolution`), mizzen.Unreachable,
		"the server's name cannot be resolved",
		"check the URL and the name service; Mizzen tries again",
	},
	{
		regexp.MustCompile(`(?i)connection refused|failed to connect|couldn't connect|connection timed out|operation timed out|network is unreachable|no route to host|connection reset|connection closed|kex_exchange_identification|operation too slow|returned error: (5\d\d|429)|early eof|remote end hung up|rpc failed|unexpected disconnect|empty reply|broken pipe|gnutls|ssl_(read|connect|error)`), mizzen.Unreachable,
		"the server does not answer as it should",
		"check that it is up and can be reached from here; Mizzen tries again",
	},
}

// failure says what became of a fetch, in an Error. known is false if the
// mirror itself could be the cause.
func (m *Mirror) failure(err error) (failed error, known bool) {
	object := "repository " + Redact(m.address.given)
	var bad *commandError
	var own *mizzen.Error
	switch {
	case errors.As(err, &own):
		return err, true
	case errors.Is(err, context.DeadlineExceeded):
		return &mizzen.Error{
			Kind: mizzen.Timeout, Object: object, Err: fmt.Errorf("the fetch took longer than %s: %w", m.limit().Round(time.Millisecond), err),
			Remedy: "raise the timeout of the repository, or find out why its server is slow; Mizzen tries again",
		}, true
	case errors.Is(err, context.Canceled), errors.Is(err, errClosed):
		return err, true
	case errors.Is(err, exec.ErrNotFound):
		return &mizzen.Error{Kind: mizzen.NotFound, Object: object, Err: err, Remedy: "install git 2.36 or later"}, true
	case !errors.As(err, &bad):
		return &mizzen.Error{Kind: mizzen.Internal, Object: object, Err: err, Remedy: "look at Mizzen's state directory: is it writable"}, false
	}
	said := m.mask(bad.stderr)
	for _, s := range symptoms {
		if s.says.MatchString(said) {
			return &mizzen.Error{Kind: s.kind, Object: object, Err: fmt.Errorf("%s (%s)", s.cause, salient(said)), Remedy: s.remedy}, true
		}
	}
	return &mizzen.Error{
		Kind: mizzen.Unreachable, Object: object, Err: errors.New((&commandError{bad.verb, bad.code, said}).Error()),
		Remedy: "try the same with the git command; Mizzen tries again",
	}, false
}

// mask removes secrets that a server sent back.
func (m *Mirror) mask(s string) string {
	c, _ := m.access()
	for _, secret := range c.secrets(m.address) {
		s = strings.ReplaceAll(s, secret, "***")
	}
	return s
}

// noise is what the git command adds to every failure.
var noise = regexp.MustCompile(`^(@+$|@ +|and the repository exists|Please make sure|Warning: Permanently added|It is also possible|Someone could be|Please contact|Add correct host key)`)

// fickle is what differs from one failure to the next of the same cause. It is
// left out, so that a message that is kept somewhere does not change for it.
var fickle = regexp.MustCompile(` after \d+ (ms|milliseconds)|[; ]*\(?\d+ bytes[^;,)]*\)?|, \d+ out of \d+ bytes[^;,]*`)

// hungUp is how it is said, depending on who was faster, that a server closes
// the connection instead of an answer. What else is said depends on which
// request of a fetch that was: nothing else is told.
var hungUp = regexp.MustCompile(`Empty reply from server|(Recv|Send) failure: (Connection reset by peer|Broken pipe)|OpenSSL SSL_(connect|read): (Connection reset by peer|SSL_ERROR_SYSCALL)`)

// salient returns the lines of a command's complaint that say something, on
// one line of at most 300 bytes.
func salient(stderr string) string {
	if hungUp.MatchString(stderr) {
		return "the server hung up"
	}
	var lines []string
	for line := range strings.Lines(stderr) {
		line = strings.TrimSpace(printable(line, 300))
		for _, prefix := range []string{"fatal: ", "error: ", "warning: "} {
			line = strings.TrimPrefix(line, prefix)
		}
		line = fickle.ReplaceAllString(line, "")
		if line != "" && !noise.MatchString(line) {
			lines = append(lines, strings.TrimSuffix(line, "."))
		}
	}
	// The last lines matter most: they are the command's own.
	if len(lines) > 3 {
		lines = lines[len(lines)-3:]
	}
	return truncate(strings.Join(lines, "; "), 300)
}
