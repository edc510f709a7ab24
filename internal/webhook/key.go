package webhook

import (
	"net"
	"net/url"
	"strings"
	"unicode/utf8"
)

// defaultPorts are those that a URL may leave out.
var defaultPorts = map[string]string{"http": "80", "https": "443", "ssh": "22", "git": "9418", "git+ssh": "22", "ssh+git": "22"}

// Key returns what the URLs of one repository have in common, whatever the
// protocol: https://github.com/a/b.git, git@github.com:a/b and
// ssh://git@github.com:22/a/b all have the key github.com/a/b. It is "" for
// what is no URL of a repository.
//
// Credentials, the default port, ".git" and a final slash do not count, nor do
// upper and lower case: forges treat names as the same, and since a key only
// selects whose secret to try, one repository too many costs nothing. Any other
// port counts, and so does the whole path, under which a private forge may be
// installed.
func Key(repository string) string {
	if len(repository) > maxText || !utf8.ValidString(repository) || strings.ContainsFunc(repository, isControl) {
		return ""
	}
	split := splitSCP
	if strings.Contains(repository, "://") {
		split = splitURL
	}
	host, path := split(repository)
	path = strings.TrimSuffix(strings.Trim(path, "/"), ".git")
	path = strings.TrimSuffix(path, "/")
	if host == "" || path == "" {
		return ""
	}
	return strings.ToLower(strings.TrimSuffix(host, ".") + "/" + path)
}

// isControl also takes the blank, which no URL and no ref holds.
func isControl(r rune) bool { return r <= ' ' || r == 0x7f }

func splitURL(s string) (host, path string) {
	u, err := url.Parse(s)
	if err != nil {
		return "", ""
	}
	scheme := strings.ToLower(u.Scheme)
	if scheme == "file" {
		return "file", u.Path
	}
	if _, known := defaultPorts[scheme]; !known {
		return "", ""
	}
	host = strings.TrimSuffix(u.Hostname(), ".")
	if host != "" && u.Port() != "" && u.Port() != defaultPorts[scheme] {
		host = net.JoinHostPort(host, u.Port())
	}
	return host, u.Path
}

// splitSCP splits user@host:path, which has no port. An absolute path is a
// repository of this machine.
func splitSCP(s string) (host, path string) {
	if strings.HasPrefix(s, "/") {
		return "file", s
	}
	s = s[strings.IndexByte(s, '@')+1:]
	if rest, ok := strings.CutPrefix(s, "["); ok {
		host, path, _ = strings.Cut(rest, "]:")
		return host, path
	}
	host, path, found := strings.Cut(s, ":")
	if !found || strings.Contains(host, "/") {
		return "", ""
	}
	return host, path
}

// keys returns the distinct keys of URLs.
func keys(urls []string) []string {
	var list []string
	seen := map[string]bool{}
	for _, u := range urls {
		if key := Key(u); key != "" && !seen[key] {
			seen[key] = true
			list = append(list, key)
		}
	}
	return list
}
