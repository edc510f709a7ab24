package git

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"golang.org/x/crypto/ssh"

	"mizzen.dev/mizzen"
)

// defaultTokenUser goes with a token; forges that look at the name at all
// accept this one.
const defaultTokenUser = "x-access-token"

// Credentials prove who reads a repository. The zero value is for public ones.
type Credentials struct {
	// Username and Password are for https.
	Username string
	Password string
	// Token is for https instead of a password; Username may go with it.
	Token string
	// CA holds the PEM certificates of a private authority of an https server.
	CA []byte

	// PrivateKey is for ssh, in PEM; Passphrase opens it if it is encrypted.
	PrivateKey []byte
	Passphrase string
	// KnownHosts are the keys of ssh servers, in the form of that file. No
	// other server is spoken to.
	KnownHosts []byte
}

func (c Credentials) empty() bool {
	return c.Username == "" && c.Password == "" && c.Token == "" && len(c.CA) == 0 &&
		len(c.PrivateKey) == 0 && len(c.KnownHosts) == 0
}

// String keeps the secrets out of logs that print a Remote.
func (c Credentials) String() string {
	if c.empty() {
		return "none"
	}
	return "***"
}

// GoString is String for %#v.
func (c Credentials) GoString() string { return "git.Credentials{" + c.String() + "}" }

// validate tells early, and in words, what a server would only refuse.
func (c Credentials) validate(a address) error {
	why, remedy := c.doubt(a)
	if why == "" {
		return nil
	}
	return &mizzen.Error{Kind: mizzen.Invalid, Object: "credentials of " + Redact(a.given), Err: errors.New(why), Remedy: remedy}
}

// doubt says what is wrong with the credentials for an address; "" if nothing
// is.
func (c Credentials) doubt(a address) (why, remedy string) {
	if strings.ContainsFunc(c.Username+c.Password+c.Token, unicode.IsControl) {
		return "a user name, password or token holds a line break or another control character", "store it without a final line break"
	}
	if c.Password != "" && c.Token != "" {
		return "there is both a password and a token", "keep one of them"
	}
	if len(c.CA) > 0 && a.scheme != "https" {
		return "a certificate authority is of no use for " + a.scheme, "use an https URL, or remove caFile"
	}
	if a.scheme == "ssh" {
		return c.doubtSSH()
	}
	if len(c.PrivateKey) > 0 {
		return "a private key is of no use for " + a.scheme, "use an ssh URL, or a password or token"
	}
	return "", ""
}

func (c Credentials) doubtSSH() (why, remedy string) {
	if len(c.PrivateKey) == 0 {
		return "ssh needs a private key", "add the key identity to the Secret"
	}
	if len(bytes.TrimSpace(c.KnownHosts)) == 0 {
		return "ssh needs the host key of the server",
			"add known_hosts to the Secret, with what ssh-keyscan says and the server's administrator confirms"
	}
	if _, err := c.signer(); err != nil {
		return err.Error(), "store the private key in PEM form, and its passphrase if it has one"
	}
	return "", ""
}

// signer returns the private key in the form that an agent takes.
func (c Credentials) signer() (any, error) {
	var missing *ssh.PassphraseMissingError
	key, err := ssh.ParseRawPrivateKey(c.PrivateKey)
	if errors.As(err, &missing) {
		if c.Passphrase == "" {
			return nil, errors.New("the private key is encrypted and there is no passphrase")
		}
		key, err = ssh.ParseRawPrivateKeyWithPassphrase(c.PrivateKey, []byte(c.Passphrase))
	}
	if err != nil {
		// The parser's own error could repeat a part of the key.
		return nil, errors.New("the private key cannot be read")
	}
	return key, nil
}

// secrets returns every form in which a server could send a secret back, so
// that none of them gets into an error.
func (c Credentials) secrets(a address) []string {
	var all []string
	for _, s := range []string{c.Password, c.Token, c.Passphrase} {
		if s == "" {
			continue
		}
		user := c.user(a)
		all = append(all, s, url.QueryEscape(s), url.PathEscape(s),
			base64.StdEncoding.EncodeToString([]byte(s)),
			base64.StdEncoding.EncodeToString([]byte(user+":"+s)))
	}
	return all
}

func (c Credentials) user(a address) string {
	switch {
	case c.Username != "":
		return c.Username
	case a.user != "":
		return a.user
	}
	return defaultTokenUser
}

// session is what the git command needs to prove who asks, for one call.
type session struct {
	env    []string
	config []setting
	close  func()
}

// open prepares a session. The caller closes it.
func (c Credentials) open(a address) (*session, error) {
	s := &session{close: func() {}}
	switch a.scheme {
	case "ssh":
		return openSSH(c)
	case "http", "https":
		return s, c.openHTTP(s, a)
	}
	return s, nil
}

// basicHelper is a credential helper that reads its own environment. It is
// configured for the one server, so that no other one gets the answer, a
// redirect's target included.
const basicHelper = `!f() { test "$1" = get || exit 0; printf 'username=%s\npassword=%s\n' "$MIZZEN_GIT_USERNAME" "$MIZZEN_GIT_PASSWORD"; }; f`

func (c Credentials) openHTTP(s *session, a address) error {
	if secret := c.Password + c.Token; secret != "" {
		s.config = append(s.config, setting{"credential." + a.scheme + "://" + a.host + ".helper", basicHelper})
		s.env = append(s.env, "MIZZEN_GIT_USERNAME="+c.user(a), "MIZZEN_GIT_PASSWORD="+secret)
	}
	if len(c.CA) == 0 {
		return nil
	}
	dir, err := os.MkdirTemp("", "mizzen-ca-")
	if err != nil {
		return fmt.Errorf("hand over the certificate authority: %w", err)
	}
	s.close = func() { _ = os.RemoveAll(dir) }
	file := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(file, c.CA, 0o600); err != nil {
		s.close()
		return fmt.Errorf("hand over the certificate authority: %w", err)
	}
	s.config = append(s.config, setting{"http.sslCAInfo", file})
	return nil
}
