package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mizzen.dev/mizzen"
)

const secret = "correct horse battery staple"

func signature(key, body string) string {
	h := hmac.New(sha256.New, []byte(key))
	h.Write([]byte(body))
	return hex.EncodeToString(h.Sum(nil))
}

func read(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// headers makes a header of names and values in turn, for a JSON body.
func headers(pairs ...string) http.Header {
	h := http.Header{"Content-Type": {"application/json"}}
	for i := 0; i < len(pairs); i += 2 {
		h.Set(pairs[i], pairs[i+1])
	}
	return h
}

// deliveries are requests as each forge makes them.
func deliveries(t testing.TB) map[string]struct {
	header http.Header
	body   string
} {
	type delivery = struct {
		header http.Header
		body   string
	}
	github, ping, gitlab := read(t, "github-push.json"), read(t, "github-ping.json"), read(t, "gitlab-push.json")
	tag, gitea, system := read(t, "gitlab-tag.json"), read(t, "gitea-push.json"), read(t, "gitlab-system.json")
	cloud, server, own := read(t, "bitbucket-push.json"), read(t, "bitbucket-server.json"), read(t, "generic-push.json")
	form := url.Values{"payload": {github}}.Encode()
	formHeader := headers("X-GitHub-Event", "push", "X-Hub-Signature-256", "sha256="+signature(secret, form))
	formHeader.Set("Content-Type", "application/x-www-form-urlencoded")
	return map[string]delivery{
		"github":      {headers("X-GitHub-Event", "push", "X-Hub-Signature-256", "sha256="+signature(secret, github)), github},
		"github form": {formHeader, form},
		"github ping": {headers("X-GitHub-Event", "ping", "X-Hub-Signature-256", "sha256="+signature(secret, ping)), ping},
		"gitlab":      {headers("X-Gitlab-Event", "Push Hook", "X-Gitlab-Token", secret), gitlab},
		"gitlab tag":  {headers("X-Gitlab-Event", "Tag Push Hook", "X-Gitlab-Token", secret), tag},
		"gitlab new project": {
			headers("X-Gitlab-Event", "System Hook", "X-Gitlab-Token", secret), system,
		},
		"gitea": {headers("X-Gitea-Event", "push", "X-GitHub-Event", "push", "X-Gitea-Signature", signature(secret, gitea)), gitea},
		"forgejo": {headers("X-Forgejo-Event", "push", "X-Gitea-Event", "push", "X-GitHub-Event", "push",
			"X-Forgejo-Signature", signature(secret, gitea), "X-Gitea-Signature", signature(secret, gitea)), gitea},
		"bitbucket":        {headers("X-Event-Key", "repo:push", "X-Hub-Signature", "sha256="+signature(secret, cloud)), cloud},
		"bitbucket server": {headers("X-Event-Key", "repo:refs_changed", "X-Hub-Signature", "sha256="+signature(secret, server)), server},
		"generic":          {headers("X-Mizzen-Signature-256", "sha256="+signature(secret, own)), own},
	}
}

func TestParse(t *testing.T) {
	github := Push{
		Forge: GitHub,
		URLs: []string{
			"git://github.com/Bookshop/deploy.git", "git@github.com:Bookshop/deploy.git",
			"https://github.com/Bookshop/deploy", "https://github.com/Bookshop/deploy.git",
		},
		Ref:    "refs/heads/main",
		Before: "6113728f27ae82c7b1a177c8d03f9e96e0adf246",
		After:  "0d1a26e67d8f5eaf1f6ba5c57fc3c7d91ac0fd1c",
		Paths:  []string{"mesh/reviews.yaml", "services/reviews/overlays/prod/old.yaml", "services/reviews/overlays/prod/v3.yaml"},
	}
	gitea := Push{
		Forge: Gitea,
		URLs: []string{
			"https://git.example.com:3000/bookshop/deploy", "https://git.example.com:3000/bookshop/deploy.git",
			"ssh://git@git.example.com:2222/bookshop/deploy.git",
		},
		Ref:    "refs/heads/main",
		Before: "28e1879d029cb852e4844d9c718537df08844e03",
		After:  "bffeb74224043ba2feb48d137756c8a9331c449a",
		Paths:  []string{"apps/kustomization.yaml", "services/payments/kustomization.yaml"},
	}
	want := map[string]Push{
		"github": github, "github form": github, "gitea": gitea, "forgejo": gitea,
		"github ping": {Forge: GitHub, URLs: []string{
			"git@github.com:Bookshop/deploy.git", "https://github.com/Bookshop/deploy", "https://github.com/Bookshop/deploy.git",
		}},
		"gitlab": {
			Forge: GitLab,
			URLs: []string{
				"git@git.example.com:bookshop/platform/deploy.git", "https://git.example.com/gitlab/bookshop/platform/deploy",
				"https://git.example.com/gitlab/bookshop/platform/deploy.git",
			},
			Ref:    "refs/heads/main",
			Before: "95790bf891e76fee5e1747ab589903a6a1f80f22",
			After:  "da1560886d4f094c3e6c9ef40349f7d38b5d27d7",
			Paths:  []string{"web/hpa.yaml", "web/values.yaml"},
		},
		"gitlab tag": {
			Forge: GitLab,
			URLs:  []string{"git@gitlab.com:bookshop/deploy.git", "https://gitlab.com/bookshop/deploy", "https://gitlab.com/bookshop/deploy.git"},
			Ref:   "refs/tags/v1.4.0", After: "82b3d5ae55f7080f1e6022629cdb57bfae7cccc7",
		},
		"gitlab new project": {Forge: GitLab},
		"bitbucket": {
			Forge:  Bitbucket,
			URLs:   []string{"git@bitbucket.org:bookshop/deploy.git", "https://bitbucket.org/bookshop/deploy"},
			Ref:    "refs/heads/main",
			Before: "1e65c05c1d5171631d92438a13901ca7dae9618c", After: "709d658dc5b6d6afcd46049c2f332ee3f515a67d",
		},
		"bitbucket server": {
			Forge: Bitbucket,
			URLs:  []string{"https://bitbucket.example.com/scm/shop/deploy.git", "ssh://git@bitbucket.example.com:7999/shop/deploy.git"},
			Ref:   "refs/heads/main", Before: "ecddabb624f6f5ba43816f5926e580a5f680a932", After: "178864a7d521b6f5e720b386b2c2b0ef8563e0dc",
		},
		"generic": {
			Forge: Generic, URLs: []string{"https://git.example.com/bookshop/deploy.git"},
			Ref: "refs/heads/main", After: "178864a7d521b6f5e720b386b2c2b0ef8563e0dc", Paths: []string{"a.yaml", "b.yaml"},
		},
	}
	for name, d := range deliveries(t) {
		m, err := Parse(d.header, []byte(d.body))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(want[name], m.Push); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
		if ignored := name == "github ping" || name == "gitlab new project"; m.Ignored != ignored {
			t.Errorf("%s: ignored is %v", name, m.Ignored)
		}
		if !m.SignedBy([]byte(secret)) {
			t.Errorf("%s: the right secret did not sign it", name)
		}
		for _, wrong := range []string{"", "wrong", secret + "x", secret[1:]} {
			if m.SignedBy([]byte(wrong)) {
				t.Errorf("%s: %q signed it", name, wrong)
			}
		}
	}
}

// The vectors that GitHub and the Standard Webhooks specification publish.
func TestPublishedVectors(t *testing.T) {
	check := func(p proof, key string, want bool) {
		t.Helper()
		if got := (Message{proof: p}).SignedBy([]byte(key)); got != want {
			t.Errorf("signed by %q is %v, want %v", key, got, want)
		}
	}
	github := hexMAC("sha256=", "X-Hub-Signature-256")
	const digest = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
	right := headers("X-Hub-Signature-256", "sha256="+digest)
	check(github(right, []byte("Hello, World!")), "It's a Secret to Everybody", true)
	check(github(right, []byte("Hello, World?")), "It's a Secret to Everybody", false)
	check(github(right, []byte("Hello, World!")), "It's a secret to everybody", false)
	check(github(headers("X-Hub-Signature-256", digest), []byte("Hello, World!")), "It's a Secret to Everybody", false)
	check(github(headers("X-Hub-Signature-256", "sha256="+digest[2:]), []byte("Hello, World!")), "It's a Secret to Everybody", false)
	check(github(headers("X-Hub-Signature", "sha1=00"), []byte("Hello, World!")), "It's a Secret to Everybody", false)

	const token = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	body := []byte(`{"test": 2432232314}`)
	signed := func(claim string) http.Header {
		return headers("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp", "1614265330", "webhook-signature", claim)
	}
	const claim = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	check(gitLabProof(signed(claim), body), token, true)
	check(gitLabProof(signed("v1,bm8= v2,bm8= "+claim), body), token, true)
	check(gitLabProof(signed("v2"+claim[2:]), body), token, false)
	check(gitLabProof(signed(claim), []byte("{}")), token, false)
	check(gitLabProof(signed(claim), body), "whsec_", false)
	check(gitLabProof(signed(claim), body), "whsec_?", false)
	// A token beside a wrong signature does not excuse it.
	both := signed("v1,bm8=")
	both.Set("X-Gitlab-Token", token)
	check(gitLabProof(both, body), token, false)
}

// A good signature in a later header does not excuse a bad one.
func TestFirstSignatureCounts(t *testing.T) {
	body := read(t, "gitea-push.json")
	h := headers("X-Forgejo-Event", "push", "X-Forgejo-Signature", signature("wrong", body), "X-Gitea-Signature", signature(secret, body))
	m, err := Parse(h, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	if m.SignedBy([]byte(secret)) {
		t.Error("the second signature was taken")
	}
}

func TestParseRefuses(t *testing.T) {
	github := headers("X-GitHub-Event", "push")
	with := func(contentType string) http.Header {
		h := github.Clone()
		h.Set("Content-Type", contentType)
		return h
	}
	push := func(ref, before, after string) string {
		return `{"ref": "` + ref + `", "before": "` + before + `", "after": "` + after + `", "repository": {"clone_url": "https://a/b"}}`
	}
	id := strings.Repeat("a", 40)
	cases := []struct {
		name   string
		header http.Header
		body   string
	}{
		{"no forge", headers(), "{}"},
		{"no content type", http.Header{"X-Github-Event": {"push"}}, "{}"},
		{"text", with("text/plain"), "{}"},
		{"malformed content type", with(";;"), "{}"},
		{"form without payload", with("application/x-www-form-urlencoded"), "a=b"},
		{"broken form", with("application/x-www-form-urlencoded"), "payload=%zz"},
		{"empty", github, ""},
		{"not JSON", github, "hello"},
		{"wrong types", github, `{"ref": 7}`},
		{"no repository", github, `{"ref": "refs/heads/main"}`},
		{"no usable URL", github, `{"ref": "refs/heads/main", "repository": {"clone_url": "javascript://x/y", "ssh_url": "-oProxyCommand=x"}}`},
		{"strange ref", github, push("refs/../x", id, id)},
		{"control characters", github, push(`refs/heads/a\u001b[31m`, id, id)},
		{"short id", github, push("refs/heads/a", "abc", id)},
		{"id of letters", github, push("refs/heads/a", id, strings.Repeat("z", 40))},
		{"option as id", github, push("refs/heads/a", id, "--upload-pack=x")},
	}
	for _, c := range cases {
		_, err := Parse(c.header, []byte(c.body))
		if mizzen.KindOf(err) != mizzen.Invalid {
			t.Errorf("%s: error %v, want Invalid", c.name, err)
		}
	}
	if _, err := Parse(github, make([]byte, MaxBody+1)); mizzen.KindOf(err) != mizzen.TooLarge {
		t.Errorf("oversized: error %v, want Timeout", err)
	}
}

func TestIncompletePathsAreDropped(t *testing.T) {
	id := strings.Repeat("a", 40)
	for name, body := range map[string]string{
		"forced":     `{"forced": true, "before": "` + id + `", "commits": [{"added": ["a"]}], "repository": {"clone_url": "https://a/b"}}`,
		"new branch": `{"before": "` + strings.Repeat("0", 40) + `", "commits": [{"added": ["a"]}], "repository": {"clone_url": "https://a/b"}}`,
		"cut":        `{"total_commits": 9, "before": "` + id + `", "commits": [{"added": ["a"]}], "repository": {"clone_url": "https://a/b"}}`,
		"absolute":   `{"before": "` + id + `", "commits": [{"added": ["/etc/passwd"]}], "repository": {"clone_url": "https://a/b"}}`,
	} {
		m, err := Parse(headers("X-GitHub-Event", "push"), []byte(body))
		if err != nil || m.Push.Paths != nil {
			t.Errorf("%s: paths %v, error %v", name, m.Push.Paths, err)
		}
	}
}

func TestKey(t *testing.T) {
	same := map[string][]string{
		"github.com/a/b": {
			"https://github.com/a/b", "https://github.com/a/b.git", "https://github.com/a/b/", "https://github.com/a/b.git/",
			"git@github.com:a/b", "git@github.com:a/b.git", "github.com:a/b.git", "ssh://git@github.com/a/b", "ssh://git@github.com:22/a/b.git",
			"git://github.com/a/b.git", "https://GitHub.com/A/B", "https://user:token@github.com/a/b.git", "https://github.com:443/a/b",
			"http://github.com:80/a/b", "https://github.com./a/b", "git+ssh://git@github.com/a/b",
		},
		"git.example.com/gitlab/a/b/c":     {"https://git.example.com/gitlab/a/b/c.git", "https://git.example.com/gitlab/a/b/c/"},
		"git.example.com:3000/a/b":         {"https://git.example.com:3000/a/b.git", "http://git.example.com:3000/a/b"},
		"git.example.com:2222/a/b":         {"ssh://git@git.example.com:2222/a/b.git"},
		"[::1]:8080/a":                     {"http://[::1]:8080/a.git"},
		"::1/a":                            {"git@[::1]:a.git"},
		"file/srv/git/a":                   {"file:///srv/git/a.git", "/srv/git/a.git"},
		"git.example.com/~ada/deploy repo": {"https://git.example.com/~ada/deploy%20repo.git"},
		"": {
			"", "a", "a/b", "./a:b", "javascript://x/y", "https://", "https://github.com", "https://github.com/", "https:///a/b", "git@github.com:",
			"https://github.com/a b", "https://github.com/a\nb", "://", "https://[::1", "https://" + strings.Repeat("a", 3000) + "/b", "-oProxyCommand=x",
		},
	}
	for want, urls := range same {
		for _, u := range urls {
			if got := Key(u); got != want {
				t.Errorf("Key(%q) = %q, want %q", u, got, want)
			}
		}
	}
}

func FuzzKey(f *testing.F) {
	for _, u := range []string{"https://github.com/a/b.git", "git@[::1]:a/b", "ssh://git@h:22/a", "file:///a", "a:b:c"} {
		f.Add(u)
	}
	f.Fuzz(func(t *testing.T, u string) {
		key := Key(u)
		if key != strings.ToLower(key) || len(key) > 2*maxText {
			t.Errorf("Key(%q) = %q", u, key)
		}
		if strings.Contains(key, "@") && !strings.Contains(strings.SplitN(u, "://", 2)[len(strings.SplitN(u, "://", 2))-1], "@") {
			t.Errorf("Key(%q) = %q invents an @", u, key)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, d := range deliveries(f) {
		for _, forge := range forges {
			f.Add(forge.event, d.header.Get(forge.event), d.header.Get("Content-Type"), d.body)
		}
	}
	f.Fuzz(func(t *testing.T, name, event, contentType, body string) {
		h := http.Header{}
		h.Set(name, event)
		h.Set("Content-Type", contentType)
		m, err := Parse(h, []byte(body))
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Errorf("error repeats its input: %q", err)
			}
			return
		}
		if m.SignedBy([]byte("never used")) || m.SignedBy(nil) {
			t.Error("signed by a secret that nobody used")
		}
		if !isID(m.Push.After) || len(m.Push.URLs) > maxURLs || m.Push.Ref != "" && !plausibleRef(m.Push.Ref) {
			t.Errorf("unchecked push %+v", m.Push)
		}
	})
}
