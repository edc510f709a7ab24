package cri

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"
)

// dialTimeout bounds the wait for a port of a pod.
const dialTimeout = 5 * time.Second

// streamer is what the streaming server calls when a client has come for its
// streams. Its methods have the names of the CRI's calls, but other arguments.
type streamer struct{ server *Server }

// Exec runs a command with the client's streams.
func (s streamer) Exec(ctx context.Context, id string, command []string, in io.Reader, out, errs io.WriteCloser, _ bool, _ <-chan remotecommand.TerminalSize) error {
	st := streams{in: in}
	// An interface with a nil in it is not nil.
	if out != nil {
		st.out = out
	}
	if errs != nil {
		st.err = errs
	}
	code, err := s.server.exec(ctx, id, command, st)
	if err != nil {
		return err
	}
	if code != 0 {
		return &utilexec.CodeExitError{Err: fmt.Errorf("command terminated with exit code %d", code), Code: int(code)}
	}
	return nil
}

// Attach is refused before anybody comes here.
func (s streamer) Attach(context.Context, string, io.Reader, io.WriteCloser, io.WriteCloser, bool, <-chan remotecommand.TerminalSize) error {
	return errors.New(noAttach)
}

// PortForward connects the client with a port of the pod.
func (s streamer) PortForward(_ context.Context, id string, port int32, stream io.ReadWriteCloser) error {
	defer stream.Close()
	sb, err := s.server.sandbox(id)
	if err != nil {
		return err
	}
	conn, err := sb.dial(port)
	if err != nil {
		return err
	}
	defer conn.Close()
	go func() {
		_, _ = io.Copy(conn, stream)
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.CloseWrite()
		}
	}()
	if _, err := io.Copy(stream, conn); err != nil {
		return fmt.Errorf("port %d of the pod: %w", port, err)
	}
	return nil
}

// dial connects to a port on the pod's loopback interface.
func (sb *sandbox) dial(port int32) (conn net.Conn, err error) {
	sb.life.RLock()
	defer sb.life.RUnlock()
	if sb.stopped {
		return nil, errors.New("the pod has ended")
	}
	err = sb.namespaces.Do(func() (err error) {
		conn, err = net.DialTimeout("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))), dialTimeout)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("port %d of the pod: %w", port, err)
	}
	return conn, nil
}
