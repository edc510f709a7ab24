// Package cri is the lab's container runtime: a CRI server for the kubelet
// whose containers are processes of the node in namespaces of their own. In
// go the kubelet's calls, on a Unix socket; out come processes, their logs and
// their states.
//
// All state is in memory, and a container dies with the server: there is
// nothing to recover. There are no cgroups: the server itself looks at the
// memory of containers and ends those above their limit; other resources
// schedule pods, but do not confine them. What the server cannot do it refuses,
// with the field and the reason.
package cri

import (
	"context"
	_ "embed" // the table of images
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming"

	"mizzen.dev/mizzen/lab/internal/cri/image"
	"mizzen.dev/mizzen/lab/internal/cri/network"
	"mizzen.dev/mizzen/lab/internal/process"
)

//go:embed images.yaml
var imageTable []byte

// maxMessage bounds a call of the kubelet.
const maxMessage = 16 << 20

// Config is what the server is told.
type Config struct {
	// Socket is the path of the Unix socket to serve on.
	Socket string
	// Dir is for the server alone; what an earlier one left there is removed.
	Dir string
	// Bin has the files of the images, Images is a further table or empty.
	Bin    string
	Images string
	// Hide is a directory of the node that no pod sees, or "".
	Hide string
	// Bridge connects the pods. It exists and has NodeAddress, which is one of
	// Pods, the range of the pods' addresses.
	Bridge      string
	Pods        netip.Prefix
	NodeAddress netip.Addr
	// StreamAddress is where exec and port-forward are served to the kubelet.
	StreamAddress string
}

// Server is the runtime.
type Server struct {
	runtimeapi.UnimplementedRuntimeServiceServer
	dir     string
	hide    string
	images  *image.Store
	network *network.Network
	spawner *process.Spawner
	streams streaming.Server

	mu         sync.Mutex
	sandboxes  map[string]*sandbox
	containers map[string]*container
}

// Serve serves until ctx ends or something fails.
func Serve(ctx context.Context, c Config) error {
	s, err := newServer(c)
	if err != nil {
		return err
	}
	streams, err := s.listenStreams(c.StreamAddress)
	if err != nil {
		return err
	}
	defer streams.Close()
	if err := os.Remove(c.Socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("socket: %w", err)
	}
	// Whoever waits for the socket finds a server that is ready.
	socket, err := net.Listen("unix", c.Socket)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	calls := grpc.NewServer(grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage))
	runtimeapi.RegisterRuntimeServiceServer(calls, s)
	runtimeapi.RegisterImageServiceServer(calls, &imageServer{images: s.images, dir: s.dir})
	failed := make(chan error, 2)
	go func() { failed <- calls.Serve(socket) }()
	go s.watchMemory(ctx)
	go func() {
		server := &http.Server{Handler: s.streams, ReadHeaderTimeout: time.Minute}
		failed <- server.Serve(streams)
	}()
	select {
	case <-ctx.Done():
		calls.Stop()
		return nil
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	}
}

func newServer(c Config) (*Server, error) {
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("directory: %w", err)
	}
	s := &Server{
		dir: dir, hide: c.Hide, spawner: process.NewSpawner(),
		sandboxes: map[string]*sandbox{}, containers: map[string]*container{},
	}
	for _, d := range []string{s.sandboxDir(""), s.containerDir("")} {
		if err := errors.Join(os.RemoveAll(d), os.MkdirAll(d, 0o755)); err != nil {
			return nil, fmt.Errorf("directory: %w", err)
		}
	}
	if s.images, err = image.NewStore(imageTable, c.Bin, c.Images); err != nil {
		return nil, err
	}
	if s.network, err = network.Open(c.Bridge, c.Pods, c.NodeAddress); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Server) listenStreams(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("streams: %w", err)
	}
	c := streaming.DefaultConfig
	c.BaseURL = &url.URL{Scheme: "http", Host: l.Addr().String()}
	if s.streams, err = streaming.NewServer(c, streamer{s}); err != nil {
		return nil, fmt.Errorf("streams: %w", errors.Join(err, l.Close()))
	}
	return l, nil
}

func (s *Server) sandboxDir(id string) string   { return filepath.Join(s.dir, "sandboxes", id) }
func (s *Server) containerDir(id string) string { return filepath.Join(s.dir, "containers", id) }
