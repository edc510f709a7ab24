package webhook

import (
	"errors"
	"net/http"
	"strings"
)

// forge is how one kind of server announces a push.
type forge struct {
	name Forge
	// event is the header whose presence identifies the forge, and pushes are
	// its values, in lower case, that announce one; without any, all do.
	event  string
	pushes []string
	proof  func(http.Header, []byte) proof
	// parse fails with errNoPush if the document is about something else.
	parse func(document []byte, p *Push) error
}

// forges are tried in order. Forgejo sends Gitea's headers too, and both send
// GitHub's, so the most particular ones come first.
var forges = []forge{
	{Gitea, "X-Forgejo-Event", []string{"push"}, hexMAC("", "X-Forgejo-Signature", "X-Gitea-Signature"), parseGitHub},
	{Gitea, "X-Gitea-Event", []string{"push"}, hexMAC("", "X-Gitea-Signature"), parseGitHub},
	{GitHub, "X-GitHub-Event", []string{"push"}, hexMAC("sha256=", "X-Hub-Signature-256"), parseGitHub},
	{GitLab, "X-Gitlab-Event", []string{"push hook", "tag push hook", "system hook"}, gitLabProof, parseGitLab},
	{Bitbucket, "X-Event-Key", []string{"repo:push", "repo:refs_changed"}, hexMAC("sha256=", "X-Hub-Signature-256", "X-Hub-Signature"), parseBitbucket},
	{Generic, "X-Mizzen-Signature-256", nil, hexMAC("sha256=", "X-Mizzen-Signature-256"), parseGeneric},
}

var errNoPush = errors.New("event is no push")

// detect returns the forge that a request comes from, nil if it is not known.
func detect(header http.Header) *forge {
	for i := range forges {
		if header.Get(forges[i].event) != "" {
			return &forges[i]
		}
	}
	return nil
}

// changed lists what a commit does to files.
type changed struct {
	Added    []string `json:"added"`
	Modified []string `json:"modified"`
	Removed  []string `json:"removed"`
}

func changedPaths(commits []changed) []string {
	var paths []string
	for _, c := range commits {
		paths = append(append(append(paths, c.Added...), c.Modified...), c.Removed...)
	}
	return paths
}

// gitHubPush is the payload of GitHub, Gitea and Forgejo:
// https://docs.github.com/en/webhooks/webhook-events-and-payloads#push and
// https://forgejo.org/docs/latest/user/webhooks/.
type gitHubPush struct {
	Ref        string `json:"ref"`
	Before     string `json:"before"`
	After      string `json:"after"`
	Forced     bool   `json:"forced"`
	Total      *int   `json:"total_commits"`
	Repository struct {
		HTMLURL  string `json:"html_url"`
		CloneURL string `json:"clone_url"`
		SSHURL   string `json:"ssh_url"`
		GitURL   string `json:"git_url"`
	} `json:"repository"`
	Commits []changed `json:"commits"`
}

func parseGitHub(document []byte, p *Push) error {
	var in gitHubPush
	if err := decode(document, &in); err != nil {
		return err
	}
	p.URLs = []string{in.Repository.HTMLURL, in.Repository.CloneURL, in.Repository.SSHURL, in.Repository.GitURL}
	p.Ref, p.Before, p.After = in.Ref, in.Before, in.After
	// After a forced push, or of a new branch, the commits are not the
	// difference to what was there, and forges cut a long list.
	const gitHubMost = 2048
	whole := len(in.Commits) < gitHubMost && (in.Total == nil || *in.Total == len(in.Commits))
	if whole && !in.Forced && realID(in.Before) != "" {
		p.Paths = changedPaths(in.Commits)
	}
	return nil
}

// gitLabPush is the payload of GitLab:
// https://docs.gitlab.com/user/project/integrations/webhook_events/#push-events.
type gitLabPush struct {
	// Event tells a push from what else a system hook announces.
	Event   string `json:"event_name"`
	Ref     string `json:"ref"`
	Before  string `json:"before"`
	After   string `json:"after"`
	Project struct {
		WebURL  string `json:"web_url"`
		HTTPURL string `json:"git_http_url"`
		SSHURL  string `json:"git_ssh_url"`
	} `json:"project"`
	Total   int       `json:"total_commits_count"`
	Commits []changed `json:"commits"`
}

func parseGitLab(document []byte, p *Push) error {
	var in gitLabPush
	if err := decode(document, &in); err != nil {
		return err
	}
	if in.Event != "push" && in.Event != "tag_push" {
		return errNoPush
	}
	p.URLs = []string{in.Project.WebURL, in.Project.HTTPURL, in.Project.SSHURL}
	p.Ref, p.Before, p.After = in.Ref, in.Before, in.After
	if len(in.Commits) == in.Total && realID(in.Before) != "" {
		p.Paths = changedPaths(in.Commits)
	}
	return nil
}

// link is how Bitbucket writes a URL.
type link struct {
	Href string `json:"href"`
}

// bitbucketPush is the payload of Bitbucket Cloud and, where fields differ, of
// Bitbucket Data Center:
// https://support.atlassian.com/bitbucket-cloud/docs/event-payloads/#Push and
// https://confluence.atlassian.com/bitbucketserver/event-payload-938025882.html.
type bitbucketPush struct {
	Repository struct {
		Links struct {
			HTML  link   `json:"html"`
			Clone []link `json:"clone"`
		} `json:"links"`
	} `json:"repository"`
	Push struct {
		Changes []struct {
			Old *bitbucketRef `json:"old"`
			New *bitbucketRef `json:"new"`
		} `json:"changes"`
	} `json:"push"`
	Changes []struct {
		Ref struct {
			ID string `json:"id"`
		} `json:"ref"`
		FromHash string `json:"fromHash"`
		ToHash   string `json:"toHash"`
	} `json:"changes"`
}

type bitbucketRef struct {
	Type   string `json:"type"`
	Name   string `json:"name"`
	Target struct {
		Hash string `json:"hash"`
	} `json:"target"`
}

func (r *bitbucketRef) ref() string {
	if r.Type == "tag" {
		return "refs/tags/" + r.Name
	}
	return "refs/heads/" + r.Name
}

func parseBitbucket(document []byte, p *Push) error {
	var in bitbucketPush
	if err := decode(document, &in); err != nil {
		return err
	}
	html := in.Repository.Links.HTML.Href
	p.URLs = []string{html}
	for _, l := range in.Repository.Links.Clone {
		p.URLs = append(p.URLs, l.Href)
	}
	// Cloud tells no clone URLs: they are the same host and path.
	if path, ok := strings.CutPrefix(html, "https://bitbucket.org/"); ok {
		p.URLs = append(p.URLs, "git@bitbucket.org:"+path+".git")
	}
	if len(in.Push.Changes) == 1 {
		before, after := in.Push.Changes[0].Old, in.Push.Changes[0].New
		if before != nil {
			p.Ref, p.Before = before.ref(), before.Target.Hash
		}
		if after != nil {
			p.Ref, p.After = after.ref(), after.Target.Hash
		}
	}
	if len(in.Changes) == 1 {
		c := in.Changes[0]
		p.Ref, p.Before, p.After = c.Ref.ID, c.FromHash, c.ToHash
	}
	return nil
}

// generic is a document of our own, for forges that are not known and for
// scripts. It is signed as GitHub does it, in the header X-Mizzen-Signature-256:
//
//	body='{"repository": "https://git.example.com/a/b.git"}'
//	mac=$(printf %s "$body" | openssl dgst -sha256 -hmac "$secret" -r | cut -d' ' -f1)
//	curl -d "$body" -H 'Content-Type: application/json' -H "X-Mizzen-Signature-256: sha256=$mac" …
type generic struct {
	// Repository is one URL of the repository, URLs are others; one is enough.
	Repository string   `json:"repository"`
	URLs       []string `json:"urls"`
	Ref        string   `json:"ref"`
	Before     string   `json:"before"`
	After      string   `json:"after"`
	Paths      []string `json:"paths"`
}

func parseGeneric(document []byte, p *Push) error {
	var in generic
	if err := decode(document, &in); err != nil {
		return err
	}
	p.URLs = append([]string{in.Repository}, in.URLs...)
	p.Ref, p.Before, p.After, p.Paths = in.Ref, in.Before, in.After, in.Paths
	return nil
}
