package git

import (
	"strings"
	"testing"
)

func TestSymptomsAreFirstMatch(t *testing.T) {
	cases := map[string]string{
		"fatal: unable to access 'https://x/': Could not resolve host: x":                                          "the server's name cannot be resolved",
		"fatal: unable to access 'https://x/': The requested URL returned error: 403":                              "the server refuses the credentials",
		"remote: Repository not found.\nfatal: repository 'https://github.com/x/y/' not found":                     "there is no such repository, or the credentials may not see it",
		"remote: HTTP Basic: Access denied\nfatal: Authentication failed for 'https://gitlab.com/x/y.git/'":        "the server refuses the credentials",
		"ERROR: Repository not found.\nfatal: Could not read from remote repository.":                              "there is no such repository, or the credentials may not see it",
		"ssh: Could not resolve hostname x: Name or service not known":                                             "the server's name cannot be resolved",
		"fatal: early EOF\nfatal: index-pack failed":                                                               "the server does not answer as it should",
		"error: object 1234: badTree: x\nfatal: fsck error in pack objects":                                        "the repository holds a malformed object",
		"fatal: write error: No space left on device":                                                              "there is no space left for the mirror",
		"fatal: unable to access 'https://x/': server certificate verification failed. CAfile: none CRLfile: none": "the server's certificate is not trusted",
	}
	for said, want := range cases {
		got := ""
		for _, s := range symptoms {
			if s.says.MatchString(said) {
				got = s.cause
				break
			}
		}
		if got != want {
			t.Errorf("%q means %q, want %q", said, got, want)
		}
	}
}

func TestSalient(t *testing.T) {
	cases := map[string]string{
		"fatal: unable to access 'https://x/': Failed to connect to x port 443 after 131 ms: Couldn't connect to server\n":                                                          "unable to access 'https://x/': Failed to connect to x port 443: Couldn't connect to server",
		"fatal: unable to access 'https://x/': Empty reply from server\n":                                                                                                           "the server hung up",
		"fatal: unable to access 'https://x/': Recv failure: Connection reset by peer\n":                                                                                            "the server hung up",
		"error: RPC failed; curl 56 Recv failure: Connection reset by peer\nfatal: expected flush after ref listing\n":                                                              "the server hung up",
		"error: RPC failed; curl 18 transfer closed with outstanding read data remaining\nerror: 5421 bytes of body are still expected\nfatal: early EOF\n":                         "RPC failed; curl 18 transfer closed with outstanding read data remaining; early EOF",
		"git@x: Permission denied (publickey).\nfatal: Could not read from remote repository.\n\nPlease make sure you have the correct access rights\nand the repository exists.\n": "git@x: Permission denied (publickey); Could not read from remote repository",
		"\x1b[31mred\x1b[0m\n": "[31mred[0m",
		"":                     "",
	}
	for in, want := range cases {
		if got := salient(in); got != want {
			t.Errorf("salient(%q) = %q, want %q", in, got, want)
		}
	}
	if got := salient(strings.Repeat("ü", 10_000)); len(got) > 300 {
		t.Errorf("%d bytes", len(got))
	}
}
