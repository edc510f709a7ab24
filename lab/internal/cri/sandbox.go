package cri

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"mizzen.dev/mizzen/lab/internal/cri/network"
)

// sandbox is a pod: its namespaces, held by descriptors, and its place in the
// network.
type sandbox struct {
	id      string
	config  *runtimeapi.PodSandboxConfig
	created int64
	address string // empty in the node's network

	// life is held for reading while something of the pod is being made, for
	// writing while it is being ended.
	life       sync.RWMutex
	stopped    bool
	namespaces *network.Namespaces
	place      *network.Pod // nil in the node's network
}

func newID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails, crypto/rand says
	return hex.EncodeToString(b)
}

func hostNetwork(c *runtimeapi.PodSandboxConfig) bool {
	return c.GetLinux().GetSecurityContext().GetNamespaceOptions().GetNetwork() == runtimeapi.NamespaceMode_NODE
}

// RunPodSandbox makes a pod without containers.
func (s *Server) RunPodSandbox(_ context.Context, r *runtimeapi.RunPodSandboxRequest) (*runtimeapi.RunPodSandboxResponse, error) {
	if r.GetConfig().GetMetadata() == nil {
		return nil, status.Error(codes.InvalidArgument, "the pod has no metadata")
	}
	if err := refusePod(r); err != nil {
		return nil, err
	}
	sb := &sandbox{id: newID(), config: r.Config, created: time.Now().UnixNano()}
	if err := errors.Join(s.furnish(sb), s.connect(sb)); err != nil {
		return nil, errors.Join(err, s.dismantle(sb))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sandboxes[sb.id] = sb
	return &runtimeapi.RunPodSandboxResponse{PodSandboxId: sb.id}, nil
}

// furnish makes the files that the pod's containers share.
func (s *Server) furnish(sb *sandbox) error {
	dir := s.sandboxDir(sb.id)
	shm := filepath.Join(dir, "shm")
	if err := os.MkdirAll(shm, 0o755); err != nil {
		return fmt.Errorf("pod's directory: %w", err)
	}
	// A directory, not a mount: the pod ends without anything to unmount.
	if err := os.Chmod(shm, os.ModeSticky|0o777); err != nil {
		return fmt.Errorf("pod's directory: %w", err)
	}
	if sb.config.Hostname != "" {
		if err := os.WriteFile(filepath.Join(dir, "hostname"), []byte(sb.config.Hostname+"\n"), 0o644); err != nil {
			return fmt.Errorf("pod's hostname: %w", err)
		}
	}
	if sb.config.DnsConfig == nil {
		return nil
	}
	if err := os.WriteFile(filepath.Join(dir, "resolv.conf"), []byte(resolvConf(sb.config.DnsConfig)), 0o644); err != nil {
		return fmt.Errorf("pod's resolv.conf: %w", err)
	}
	return nil
}

func resolvConf(dns *runtimeapi.DNSConfig) string {
	var b strings.Builder
	for _, server := range dns.Servers {
		fmt.Fprintln(&b, "nameserver", server)
	}
	if len(dns.Searches) > 0 {
		fmt.Fprintln(&b, "search", strings.Join(dns.Searches, " "))
	}
	if len(dns.Options) > 0 {
		fmt.Fprintln(&b, "options", strings.Join(dns.Options, " "))
	}
	return b.String()
}

// connect makes the pod's namespaces and gives it an address.
func (s *Server) connect(sb *sandbox) (err error) {
	own := !hostNetwork(sb.config)
	if sb.namespaces, err = network.NewNamespaces(own); err != nil || !own {
		return err
	}
	if sb.place, err = s.network.Connect(sb.namespaces, sb.id); err != nil {
		return err
	}
	sb.address = sb.place.Address.String()
	return sb.namespaces.Do(func() error {
		// Pods may use all ports without capabilities, as under containerd.
		set := map[string]string{"net.ipv4.ip_unprivileged_port_start": "0"}
		for name, value := range sb.config.GetLinux().GetSysctls() {
			set[name] = value
		}
		for name, value := range set {
			if err := os.WriteFile("/proc/sys/"+sysctlFile(name), []byte(value), 0o644); err != nil {
				return status.Errorf(codes.InvalidArgument, "securityContext.sysctls: %s=%s: %v", name, value, err)
			}
		}
		return nil
	})
}

// sysctlFile returns where a setting is below /proc/sys. The first separator of
// its name, "." or "/", is the one of its parts (sysctl(8)).
func sysctlFile(name string) string {
	if i := strings.IndexAny(name, "./"); i >= 0 && name[i] == '.' {
		name = strings.NewReplacer(".", "/", "/", ".").Replace(name)
	}
	return filepath.Clean(name)
}

// dismantle undoes connect and furnish.
func (s *Server) dismantle(sb *sandbox) error {
	return errors.Join(s.disconnect(sb), os.RemoveAll(s.sandboxDir(sb.id)))
}

func (s *Server) disconnect(sb *sandbox) error {
	if sb.place != nil {
		if err := sb.place.Disconnect(); err != nil {
			return err
		}
		sb.place = nil
	}
	if sb.namespaces != nil {
		sb.namespaces.Close()
		sb.namespaces = nil
	}
	return nil
}

func (s *Server) sandbox(id string) (*sandbox, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sb := s.sandboxes[id]; sb != nil {
		return sb, nil
	}
	return nil, status.Errorf(codes.NotFound, "pod sandbox %q not found", id)
}

// StopPodSandbox kills what runs in the pod and frees its network. It may be
// called again.
func (s *Server) StopPodSandbox(_ context.Context, r *runtimeapi.StopPodSandboxRequest) (*runtimeapi.StopPodSandboxResponse, error) {
	sb, err := s.sandbox(r.PodSandboxId)
	if err != nil {
		return &runtimeapi.StopPodSandboxResponse{}, nil
	}
	if err := s.stopSandbox(sb); err != nil {
		return nil, err
	}
	return &runtimeapi.StopPodSandboxResponse{}, nil
}

func (s *Server) stopSandbox(sb *sandbox) error {
	sb.life.Lock()
	defer sb.life.Unlock()
	sb.stopped = true
	var wait sync.WaitGroup
	for _, c := range s.containersOf(sb.id) {
		wait.Go(func() { c.stop(0) })
	}
	wait.Wait()
	return s.disconnect(sb)
}

// containersOf returns the containers of a pod.
func (s *Server) containersOf(sandbox string) []*container {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*container
	for _, c := range s.containers {
		if c.sandbox.id == sandbox {
			all = append(all, c)
		}
	}
	return all
}

// RemovePodSandbox forgets the pod and its containers. It may be called again.
func (s *Server) RemovePodSandbox(_ context.Context, r *runtimeapi.RemovePodSandboxRequest) (*runtimeapi.RemovePodSandboxResponse, error) {
	sb, err := s.sandbox(r.PodSandboxId)
	if err != nil {
		return &runtimeapi.RemovePodSandboxResponse{}, nil
	}
	if err := s.stopSandbox(sb); err != nil {
		return nil, err
	}
	for _, c := range s.containersOf(sb.id) {
		if err := s.remove(c); err != nil {
			return nil, err
		}
	}
	if err := os.RemoveAll(s.sandboxDir(sb.id)); err != nil {
		return nil, fmt.Errorf("remove pod sandbox: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sandboxes, sb.id)
	return &runtimeapi.RemovePodSandboxResponse{}, nil
}

// PortForward returns the URL at which a connection to a port of the pod is
// to be had.
func (s *Server) PortForward(_ context.Context, r *runtimeapi.PortForwardRequest) (*runtimeapi.PortForwardResponse, error) {
	if _, err := s.sandbox(r.PodSandboxId); err != nil {
		return nil, err
	}
	return s.streams.GetPortForward(r)
}
