package git

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh/agent"
)

// openSSH serves the private key by an agent of our own for as long as the
// session lasts, so that it is never written to a disk. Only the user that
// runs Mizzen can reach the agent's socket.
func openSSH(c Credentials) (*session, error) {
	key, err := c.signer()
	if err != nil {
		return nil, err
	}
	ring := agent.NewKeyring()
	if err := ring.Add(agent.AddedKey{PrivateKey: key}); err != nil {
		return nil, fmt.Errorf("hand over the private key: %w", err)
	}
	// The path of a socket has at most 107 bytes, hence the short names.
	dir, err := os.MkdirTemp("", "mz-")
	if err != nil {
		return nil, fmt.Errorf("hand over the private key: %w", err)
	}
	socket, hosts := filepath.Join(dir, "a"), filepath.Join(dir, "known_hosts")
	if err := os.WriteFile(hosts, c.KnownHosts, 0o600); err != nil {
		_ = os.RemoveAll(dir)
		return nil, fmt.Errorf("hand over known_hosts: %w", err)
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, fmt.Errorf("hand over the private key: %w", err)
	}
	go serveAgent(listener, ring)
	return &session{
		env: []string{"SSH_AUTH_SOCK=" + socket, "GIT_SSH_VARIANT=ssh", "GIT_SSH_COMMAND=" + sshCommand(socket, hosts)},
		close: func() {
			_ = listener.Close()
			_ = ring.RemoveAll()
			_ = os.RemoveAll(dir)
		},
	}, nil
}

func serveAgent(listener net.Listener, ring agent.Agent) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			_ = agent.ServeAgent(ring, conn)
		}()
	}
}

// sshCommand is the client's command line, without any configuration of the
// user or the host: one key, one list of known hosts, no question asked.
func sshCommand(socket, hosts string) string {
	options := []string{
		"IdentityAgent=" + socket,
		"IdentityFile=none",
		"UserKnownHostsFile=" + hosts,
		"GlobalKnownHostsFile=/dev/null",
		"StrictHostKeyChecking=yes",
		"UpdateHostKeys=no",
		"BatchMode=yes",
		"PreferredAuthentications=publickey",
		"ForwardAgent=no",
		"ForwardX11=no",
		"ClearAllForwardings=yes",
		"PermitLocalCommand=no",
		"ControlMaster=no",
		"ControlPath=none",
		"ConnectTimeout=20",
		"ServerAliveInterval=10",
		"ServerAliveCountMax=3",
	}
	var b strings.Builder
	b.WriteString("ssh -F /dev/null")
	for _, o := range options {
		b.WriteString(" -o '" + strings.ReplaceAll(o, "'", `'\''`) + "'")
	}
	return b.String()
}
