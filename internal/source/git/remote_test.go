package git_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/source/git"
)

func TestOpenRefuses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	store := openStore(t, dir, git.Options{})
	key, _ := newKey(t, "")
	cases := []struct {
		remote git.Remote
		kind   mizzen.Kind
		words  string
	}{
		{git.Remote{URL: ""}, mizzen.Invalid, "empty"},
		{git.Remote{URL: "--upload-pack=touch /tmp/x"}, mizzen.Invalid, ""},
		{git.Remote{URL: "-oProxyCommand=touch@host:path"}, mizzen.Invalid, ""},
		{git.Remote{URL: "ssh://-oProxyCommand=touch/x"}, mizzen.Invalid, "host name"},
		{git.Remote{URL: "ssh://git@-oProxyCommand=touch/x"}, mizzen.Invalid, "host name"},
		{git.Remote{URL: "ssh://-l@host/x"}, mizzen.Invalid, "user name"},
		{git.Remote{URL: "git@host:-x"}, mizzen.Invalid, ""},
		{git.Remote{URL: "ext::sh -c touch% /tmp/x"}, mizzen.Invalid, ""},
		{git.Remote{URL: "ext::sh"}, mizzen.Invalid, ""},
		{git.Remote{URL: "git://host/x"}, mizzen.Invalid, `"git" is no protocol`},
		{git.Remote{URL: "/etc"}, mizzen.Invalid, ""},
		{git.Remote{URL: "../x"}, mizzen.Invalid, ""},
		{git.Remote{URL: "file://host/x"}, mizzen.Invalid, "absolute path"},
		{git.Remote{URL: "https://ada:sesame@host/x"}, mizzen.Invalid, "the URL holds a password"},
		{git.Remote{URL: "https://host/x?a=b"}, mizzen.Invalid, "query"},
		{git.Remote{URL: "https://host/x\ny"}, mizzen.Invalid, "character"},
		{git.Remote{URL: "https://host%zz:sesame@/x"}, mizzen.Invalid, ""},
		{git.Remote{URL: "file://" + dir}, mizzen.Refused, "inside Mizzen's own state"},
		{git.Remote{URL: "git@host:x"}, mizzen.Invalid, "ssh needs a private key"},
		{git.Remote{URL: "git@host:x", Credentials: git.Credentials{PrivateKey: key}}, mizzen.Invalid, "host key"},
		{git.Remote{URL: "https://host/x", Credentials: git.Credentials{PrivateKey: key}}, mizzen.Invalid, "of no use"},
		{git.Remote{URL: "https://host/x", Credentials: git.Credentials{Token: "a\n"}}, mizzen.Invalid, "line break"},
		{git.Remote{URL: "https://host/x", Credentials: git.Credentials{Token: "a", Password: "b"}}, mizzen.Invalid, "both"},
	}
	for _, c := range cases {
		_, err := store.Open(c.remote)
		wantError(t, err, c.kind, c.words)
		if err != nil && strings.Contains(err.Error(), "sesame") {
			t.Errorf("the password is in the error: %v", err)
		}
	}
	if _, err := store.Open(git.Remote{URL: "file:///does/not/exist"}); err != nil {
		t.Errorf("a file URL: %v", err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	_, err := store.Open(git.Remote{URL: "file://" + link})
	wantError(t, err, mizzen.Refused, "inside Mizzen's own state")
	strict, err := git.NewStore(filepath.Join(t.TempDir(), "strict"), git.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = strict.Close() })
	_, err = strict.Open(git.Remote{URL: "file:///x"})
	wantError(t, err, mizzen.Refused, "file URLs are not permitted here")
}

func TestMirrorsAreShared(t *testing.T) {
	store := newStore(t, git.Options{})
	secret := git.Credentials{Token: "a"}
	same := func(a, b git.Remote) bool { return open(t, store, a) == open(t, store, b) }
	cases := []struct {
		a, b git.Remote
		want bool
	}{
		{git.Remote{URL: "https://Host:443/x/"}, git.Remote{URL: "https://host/x"}, true},
		{git.Remote{URL: "https://host/x"}, git.Remote{URL: "https://host/X"}, false},
		{git.Remote{URL: "https://host:8443/x"}, git.Remote{URL: "https://host/x"}, false},
		{git.Remote{URL: "file:///a/../b"}, git.Remote{URL: "file:///b"}, true},
		{git.Remote{URL: "https://host/x"}, git.Remote{URL: "https://host/x", Credentials: secret}, false},
		{git.Remote{URL: "https://host/x", Credentials: secret}, git.Remote{URL: "https://host/x", Credentials: secret}, true},
		{git.Remote{URL: "https://host/x", Credentials: secret}, git.Remote{URL: "https://host/x", Credentials: git.Credentials{Token: "b"}}, false},
		{
			git.Remote{URL: "https://host/x", Credentials: secret, Identity: "a/b"},
			git.Remote{URL: "https://host/x", Credentials: git.Credentials{Token: "b"}, Identity: "a/b"},
			true,
		},
		{
			git.Remote{URL: "https://host/x", Credentials: secret, Identity: "a/b"},
			git.Remote{URL: "https://host/x", Credentials: secret, Identity: "a/c"},
			false,
		},
		// An identity without credentials proves nothing.
		{git.Remote{URL: "https://host/x", Credentials: secret, Identity: "a/b"}, git.Remote{URL: "https://host/x", Identity: "a/b"}, false},
	}
	for _, c := range cases {
		if got := same(c.a, c.b); got != c.want {
			t.Errorf("%v and %v share a mirror: %v, want %v", c.a, c.b, got, c.want)
		}
	}
}

func TestCredentialsAreNotPrinted(t *testing.T) {
	r := git.Remote{URL: "https://host/x", Credentials: git.Credentials{Username: "ada", Password: "sesame", PrivateKey: []byte("sesame")}}
	for _, form := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(form, r); strings.Contains(s, "sesame") || strings.Contains(s, "115, 101") {
			t.Errorf("%s prints %s", form, s)
		}
	}
}

func TestRedact(t *testing.T) {
	cases := map[string]string{
		"https://ada:sesame@host/x?token=sesame#sesame": "https://ada:***@host/x",
		"https://host/x":           "https://host/x",
		"https://a:se/same@host/x": "https://a:se/same@host/x", // no such URL gets further than the parser
		"git@host:x":               "git@host:x",
		"https://ada@host":         "https://ada@host",
		"ht\x1btps://x":            "https://x",
	}
	for in, want := range cases {
		if got := git.Redact(in); got != want {
			t.Errorf("Redact(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestNoGit(t *testing.T) {
	_, err := git.NewStore(t.TempDir(), git.Options{Git: "/no/such/git"})
	wantError(t, err, mizzen.NotFound, "install git")
}

func FuzzOpen(f *testing.F) {
	for _, s := range []string{"https://host/x", "git@host:x", "ssh://git@host:22/x", "file:///x", "ext::sh", "--x"} {
		f.Add(s)
	}
	store := newStore(f, git.Options{})
	key, _ := newKey(f, "")
	f.Fuzz(func(t *testing.T, url string) {
		m, err := store.Open(git.Remote{URL: url, Credentials: git.Credentials{PrivateKey: key, KnownHosts: []byte("x")}})
		if err != nil {
			m, err = store.Open(git.Remote{URL: url})
		}
		if err == nil && (strings.HasPrefix(m.URL(), "-") || strings.Contains(m.URL(), "::")) {
			t.Fatalf("%q is accepted", url)
		}
	})
}
