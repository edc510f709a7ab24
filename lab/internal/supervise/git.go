package supervise

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"mizzen.dev/mizzen/lab/internal/gitserver"
	"mizzen.dev/mizzen/lab/internal/ports"
)

// gitPort is the Git server's name among the kept ports.
const gitPort = "git"

// serveGit starts the Git server and returns what ends it.
func (s *supervisor) serveGit() (end func(), err error) {
	listener, err := ports.Listen(s.ports[gitPort], false)
	if err != nil {
		return nil, fmt.Errorf("git server: %w", err)
	}
	s.remember(gitPort, ports.Of(listener))
	s.gitURL = fmt.Sprintf("http://%s", listener.Addr())
	handler, err := gitserver.New(gitserver.Root(s.dir.Git()), s.gitURL, s.log)
	if err != nil {
		listener.Close()
		return nil, fmt.Errorf("git server: %w", err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.events <- func() { s.message = fmt.Sprintf("git server: %v", err) }
		}
	}()
	return func() {
		// Closing the connections ends the backends that serve them.
		if err := server.Close(); err != nil {
			s.log.Error("end git server", "err", err)
		}
		handler.Close()
	}, nil
}
