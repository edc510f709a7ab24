package git

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strings"
	"time"
	"unicode"

	"mizzen.dev/mizzen"
)

// DefaultTimeout bounds a fetch of a Remote that names no Timeout.
const DefaultTimeout = time.Minute

// Remote is a Git repository somewhere else, and as whom to read it.
type Remote struct {
	// URL is https://…, http://…, ssh://…, user@host:path or file:///…. It
	// may hold a user name but no password.
	URL string
	// Credentials are needed unless everybody may read the repository.
	Credentials Credentials
	// Identity says in a stable and public way whose credentials they are,
	// such as the namespace and name of a Secret: the mirror is shared by
	// Remotes of the same URL and Identity, and survives a rotation of the
	// credentials. Without it, the mirror is shared by Remotes with equal
	// credentials.
	Identity string
	// Timeout bounds one fetch; 0 means DefaultTimeout.
	Timeout time.Duration
}

// scpLike matches user@host:path, the short form of an SSH address.
var scpLike = regexp.MustCompile(`^([A-Za-z0-9_][A-Za-z0-9._-]*)@([A-Za-z0-9][A-Za-z0-9.-]*):([^\s-][^\s]*)$`)

// hostName matches a host with an optional port; it cannot be taken for an
// option of ssh.
var hostName = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$`)

var userName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._@+~-]*$`)

// address is a URL that was found to be harmless.
type address struct {
	// given is what the git command gets.
	given string
	// scheme is https, http, ssh or file.
	scheme string
	// host has the port, if one was given.
	host string
	user string
	// path is that of a file URL.
	path string
	// normal is the same for the spellings of one repository.
	normal string
}

var defaultPorts = map[string]string{"https": ":443", "http": ":80", "ssh": ":22"}

// parseAddress refuses whatever the git command could take for something else
// than an address. Its errors are of Kind Invalid.
func parseAddress(raw string) (address, error) {
	a, why, remedy := readAddress(raw)
	if why == "" {
		return a, nil
	}
	if remedy == "" {
		remedy = "correct the URL"
	}
	return address{}, &mizzen.Error{Kind: mizzen.Invalid, Object: "repository " + Redact(raw), Err: errors.New(why), Remedy: remedy}
}

// readAddress returns an address, or why it is none and what to do about it.
func readAddress(raw string) (a address, why, remedy string) {
	if raw == "" || len(raw) > 2048 || strings.ContainsFunc(raw, noURLCharacter) {
		return a, "the URL is empty, too long or holds a character that no URL has", ""
	}
	if m := scpLike.FindStringSubmatch(raw); m != nil && !strings.Contains(raw, "://") {
		host := strings.ToLower(m[2])
		return address{
			given: raw, scheme: "ssh", host: host, user: m[1],
			normal: m[1] + "@" + host + ":" + strings.TrimRight(m[3], "/"),
		}, "", ""
	}
	u, err := url.Parse(raw)
	if err != nil {
		// url.Error repeats the URL, which may hold a password.
		return a, "the URL cannot be parsed", ""
	}
	return readURL(raw, u)
}

func readURL(raw string, u *url.URL) (a address, why, remedy string) {
	if _, has := u.User.Password(); has {
		return a, "the URL holds a password", "put the password into the Secret of the repository's credentials"
	}
	if u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" {
		return a, "the URL has a query, a fragment or no path", ""
	}
	if u.Scheme == "file" {
		return readFile(u)
	}
	return readServer(raw, u)
}

func noURLCharacter(r rune) bool {
	return unicode.IsSpace(r) || unicode.IsControl(r) || r == unicode.ReplacementChar
}

func readServer(raw string, u *url.URL) (a address, why, remedy string) {
	port, known := defaultPorts[u.Scheme]
	user := u.User.Username()
	switch {
	case !known:
		return a, fmt.Sprintf("%q is no protocol that Mizzen speaks", u.Scheme), "use https, ssh, http or file"
	case !hostName.MatchString(u.Host):
		return a, "the URL has no usable host name", ""
	case user != "" && !userName.MatchString(user):
		return a, "the user name in the URL has a character that is not allowed", ""
	}
	a = address{given: raw, scheme: u.Scheme, host: u.Host, user: user}
	at := strings.TrimSuffix(strings.ToLower(u.Host), port)
	if user != "" {
		at = user + "@" + at
	}
	a.normal = u.Scheme + "://" + at + strings.TrimRight(u.EscapedPath(), "/")
	return a, "", ""
}

func readFile(u *url.URL) (a address, why, remedy string) {
	if u.Host != "" || u.User != nil || !path.IsAbs(u.Path) {
		return a, "a file URL must name an absolute path", "write file:///path/to/repository"
	}
	p := path.Clean(u.Path)
	return address{given: "file://" + p, scheme: "file", path: p, normal: "file://" + p}, "", ""
}

// key names the mirror of a remote. Nobody can tell the credentials from it
// without the secret.
func (a address) key(r Remote, secret []byte) string {
	mac := hmac.New(sha256.New, secret)
	fmt.Fprintf(mac, "%q ", a.normal)
	switch {
	case r.Credentials.empty():
		mac.Write([]byte("public"))
	case r.Identity != "":
		fmt.Fprintf(mac, "identity %q", r.Identity)
	default:
		c := r.Credentials
		fmt.Fprintf(mac, "credentials %q %q %q %q %q %q %q", c.Username, c.Password, c.Token,
			c.CA, c.PrivateKey, c.Passphrase, c.KnownHosts)
	}
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// Redact returns a URL as it may be shown: without password, query and
// fragment.
func Redact(raw string) string {
	scheme, rest, found := strings.Cut(raw, "://")
	if !found {
		return printable(raw, 256)
	}
	rest, _, _ = strings.Cut(rest, "?")
	rest, _, _ = strings.Cut(rest, "#")
	authority, tail, _ := strings.Cut(rest, "/")
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		user, _, secret := strings.Cut(authority[:at], ":")
		if secret {
			user += ":***"
		}
		authority = user + authority[at:]
	}
	if tail != "" {
		tail = "/" + tail
	}
	return printable(scheme+"://"+authority+tail, 256)
}

// printable returns at most limit bytes of s with nothing in it that could
// change the meaning of a terminal or a log line.
func printable(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	return truncate(s, limit)
}

// truncate returns at most limit bytes of s, cut between characters.
func truncate(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && s[limit]&0xC0 == 0x80 {
		limit--
	}
	return s[:limit]
}
