package relay_test

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mizzen.dev/mizzen/lab/internal/relay"
)

// open returns a directory whose name does not fit the address of a socket.
func open(t *testing.T) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), strings.Repeat("long", 40))
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	dir, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dir.Close() })
	return dir
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func direct(ctx context.Context, address string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", address)
}

// through returns a connection that reaches address through two relays.
func through(t *testing.T, address string) *net.TCPConn {
	t.Helper()
	dir := open(t)
	inner, err := relay.Listen(dir, relay.InSocket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { inner.Close() })
	go relay.Serve(inner, direct)
	outer := listen(t)
	go relay.Forward(outer, address, relay.Through(dir, relay.InSocket))
	conn, err := net.Dial("tcp", outer.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn)
}

// TestHalvesCloseOneByOne sends, closes that half, and still gets the answer,
// which the server gives only once it has seen the end.
func TestHalvesCloseOneByOne(t *testing.T) {
	server := listen(t)
	go func() {
		conn, err := server.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		question, err := io.ReadAll(conn)
		if err != nil {
			return
		}
		_, _ = conn.Write([]byte(strings.ToUpper(string(question))))
	}()
	conn := through(t, server.Addr().String())
	question := strings.Repeat("all of it, ", 100_000)
	if _, err := conn.Write([]byte(question)); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil || string(answer) != strings.ToUpper(question) {
		t.Errorf("got %d bytes and %v, want %d", len(answer), err, len(question))
	}
}

func TestNobodyThereClosesTheConnection(t *testing.T) {
	gone := listen(t)
	gone.Close()
	conn := through(t, gone.Addr().String())
	if answer, _ := io.ReadAll(conn); len(answer) != 0 {
		t.Errorf("read %q from nobody", answer)
	}
}

func TestSocketIsTheOwnersAndIsReplaced(t *testing.T) {
	dir := open(t)
	for range 2 {
		l, err := relay.Listen(dir, relay.OutSocket)
		if err != nil {
			t.Fatal(err)
		}
		l.(*net.UnixListener).SetUnlinkOnClose(false) // as after a crash
		info, err := os.Stat(filepath.Join(dir.Name(), relay.OutSocket))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode of the socket: %v, %v", info.Mode(), err)
		}
		l.Close()
	}
}

func TestAddressThatIsTooLongIsRefused(t *testing.T) {
	if _, err := relay.Through(open(t), relay.InSocket)(t.Context(), strings.Repeat("a", 256)); err == nil {
		t.Error("an address of 256 bytes was accepted")
	}
}
