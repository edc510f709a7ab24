package git_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/source/git"
)

// sshServer runs git-upload-pack for one key, and nothing else.
type sshServer struct {
	addr string
	host ssh.Signer
}

func newKey(t testing.TB, passphrase string) ([]byte, ssh.Signer) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if passphrase != "" {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(block), signer
}

func newSSHServer(t testing.TB, client ssh.PublicKey) *sshServer {
	t.Helper()
	_, host := newKey(t, "")
	config := &ssh.ServerConfig{
		PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if string(key.Marshal()) != string(client.Marshal()) {
				return nil, fmt.Errorf("unknown key")
			}
			return &ssh.Permissions{}, nil
		},
	}
	config.AddHostKey(host)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serveSSH(conn, config)
		}
	}()
	return &sshServer{addr: l.Addr().String(), host: host}
}

func serveSSH(conn net.Conn, config *ssh.ServerConfig) {
	defer conn.Close()
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for fresh := range channels {
		channel, requests, err := fresh.Accept()
		if err != nil {
			return
		}
		go serveChannel(channel, requests)
	}
}

func serveChannel(channel ssh.Channel, requests <-chan *ssh.Request) {
	defer func() { _ = channel.Close() }()
	for r := range requests {
		var command struct{ Line string }
		if r.Type != "exec" || ssh.Unmarshal(r.Payload, &command) != nil {
			_ = r.Reply(r.Type == "env", nil)
			continue
		}
		_ = r.Reply(true, nil)
		path, ok := strings.CutPrefix(command.Line, "git-upload-pack ")
		code := 128
		if ok {
			cmd := exec.Command("git", "upload-pack", strings.Trim(path, "'"))
			cmd.Stdin, cmd.Stdout, cmd.Stderr = channel, channel, channel.Stderr()
			// The client keeps its end open, so stdin is copied by hand.
			cmd.Stdin = nil
			in, err := cmd.StdinPipe()
			if err == nil && cmd.Start() == nil {
				go func() {
					defer in.Close()
					buf := make([]byte, 32<<10)
					for {
						n, err := channel.Read(buf)
						if n > 0 {
							_, _ = in.Write(buf[:n])
						}
						if err != nil {
							return
						}
					}
				}()
				_ = cmd.Wait()
				code = cmd.ProcessState.ExitCode()
			}
		}
		_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{uint32(code)}))
		return
	}
}

func (s *sshServer) knownHosts() []byte {
	return []byte(knownhosts.Line([]string{knownhosts.Normalize(s.addr)}, s.host.PublicKey()) + "\n")
}

func TestSSH(t *testing.T) {
	u := newUpstream(t)
	u.push("a", "1")
	private, signer := newKey(t, "")
	server := newSSHServer(t, signer.PublicKey())
	url := "ssh://git@" + server.addr + u.dir
	good := git.Credentials{PrivateKey: private, KnownHosts: server.knownHosts()}
	if err := readable(t, url, good); err != nil {
		t.Fatalf("with the right key: %v", err)
	}
	wantError(t, readable(t, "ssh://git@"+server.addr+"/none.git", good), mizzen.NotFound, "there is no such repository")

	other := newSSHServer(t, signer.PublicKey())
	stranger := good
	stranger.KnownHosts = other.knownHosts()
	wantError(t, readable(t, url, stranger), mizzen.Forbidden,
		"repository "+url, "the server's host key is unknown", "ssh-keyscan", "known_hosts")

	impostor := good
	impostor.KnownHosts = []byte(knownhosts.Line([]string{knownhosts.Normalize(server.addr)}, other.host.PublicKey()) + "\n")
	wantError(t, readable(t, url, impostor), mizzen.Forbidden,
		"the server's host key is not the one in known_hosts", "changed on purpose")

	wrong := good
	wrong.PrivateKey, _ = newKey(t, "")
	wantError(t, readable(t, url, wrong), mizzen.Forbidden, "the server refuses the credentials", "check the Secret")
}

func TestSSHKeyWithPassphrase(t *testing.T) {
	u := newUpstream(t)
	u.push("a", "1")
	private, signer := newKey(t, "open sesame")
	server := newSSHServer(t, signer.PublicKey())
	url := "ssh://git@" + server.addr + u.dir
	c := git.Credentials{PrivateKey: private, Passphrase: "open sesame", KnownHosts: server.knownHosts()}
	if err := readable(t, url, c); err != nil {
		t.Error(err)
	}
	c.Passphrase = ""
	wantError(t, readable(t, url, c), mizzen.Invalid, "the private key is encrypted and there is no passphrase")
	c.Passphrase = "wrong"
	wantError(t, readable(t, url, c), mizzen.Invalid, "the private key cannot be read")
}

func TestSSHUnreachable(t *testing.T) {
	private, signer := newKey(t, "")
	server := newSSHServer(t, signer.PublicKey())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	c := git.Credentials{PrivateKey: private, KnownHosts: server.knownHosts()}
	wantError(t, readable(t, "ssh://git@"+l.Addr().String()+"/x.git", c), mizzen.Unreachable, "does not answer")
}
