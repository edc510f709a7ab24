package cri

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"mizzen.dev/mizzen/lab/internal/cri/crilog"
	"mizzen.dev/mizzen/lab/internal/cri/image"
	"mizzen.dev/mizzen/lab/internal/cri/inside"
)

// container is one container, from its creation until it is removed.
type container struct {
	id      string
	config  *runtimeapi.ContainerConfig
	sandbox *sandbox
	image   *image.Image
	created int64
	// logPath is empty if the container has no log.
	logPath    string
	spec       inside.Spec
	stopSignal unix.Signal
	// done is closed when the container has exited and its log is complete.
	done chan struct{}

	// starting is held while the container is being started.
	starting sync.Mutex

	mu                sync.Mutex
	state             runtimeapi.ContainerState
	started, finished int64
	exitCode          int32
	reason, message   string
	process           *os.Process // nil unless it runs
	log               *crilog.Log
	cpuNanoseconds    uint64 // the most that was ever seen
	memoryLimit       uint64 // in bytes; 0 is none
	overLimit         string // why it was killed, if that was because of its memory
}

func (s *Server) container(id string) (*container, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.containers[id]; c != nil {
		return c, nil
	}
	return nil, status.Errorf(codes.NotFound, "container %q not found", id)
}

// CreateContainer decides everything about a container and starts nothing.
func (s *Server) CreateContainer(_ context.Context, r *runtimeapi.CreateContainerRequest) (*runtimeapi.CreateContainerResponse, error) {
	if r.GetConfig().GetMetadata() == nil {
		return nil, status.Error(codes.InvalidArgument, "the container has no metadata")
	}
	sb, err := s.sandbox(r.PodSandboxId)
	if err != nil {
		return nil, err
	}
	if err := refuseContainer(r.Config); err != nil {
		return nil, err
	}
	if err := s.refuseVolumes(r.Config.Mounts); err != nil {
		return nil, err
	}
	im, err := s.images.Get(r.Config.GetImage().GetImage())
	if err != nil {
		return nil, imageError(err)
	}
	c := &container{
		id: newID(), config: r.Config, sandbox: sb, image: im, created: time.Now().UnixNano(),
		stopSignal: stopSignal(r.Config.StopSignal, im.StopSignal), done: make(chan struct{}),
		memoryLimit: memoryLimit(r.Config.GetLinux().GetResources()),
	}
	if r.Config.LogPath != "" && sb.config.LogDirectory != "" {
		c.logPath = filepath.Join(sb.config.LogDirectory, r.Config.LogPath)
	}
	if c.spec, err = s.specOf(c); err != nil {
		return nil, err
	}
	sb.life.RLock()
	defer sb.life.RUnlock()
	if sb.stopped {
		return nil, status.Errorf(codes.FailedPrecondition, "pod sandbox %s is stopped", sb.id)
	}
	if err := os.Mkdir(s.containerDir(c.id), 0o755); err != nil {
		return nil, fmt.Errorf("container's directory: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.containers[c.id] = c
	return &runtimeapi.CreateContainerResponse{ContainerId: c.id}, nil
}

// specOf returns what the container's process 1 becomes.
func (s *Server) specOf(c *container) (inside.Spec, error) {
	identity, err := identityOf(c.config, c.image)
	if err != nil {
		return inside.Spec{}, err
	}
	spec := inside.Spec{
		Args: command(c.config, c.image), Dir: "/", Hostname: c.sandbox.config.Hostname, Identity: identity,
		Env:  environment(c, identity.UID),
		Root: &inside.Root{Dir: s.containerDir(c.id), Mounts: s.mounts(c), Hidden: s.hide},
	}
	for _, dir := range []string{c.image.WorkingDir, c.config.WorkingDir} {
		if dir != "" {
			spec.Dir = dir
		}
	}
	spec.Root.Create = []string{spec.Dir}
	security := c.config.GetLinux().GetSecurityContext()
	spec.Root.ReadOnly = security.GetReadonlyRootfs()
	spec.Root.Masked, spec.Root.Unwritable = security.GetMaskedPaths(), security.GetReadonlyPaths()
	return spec, nil
}

// command joins the pod's and the image's, by the rules of the Kubernetes
// documentation, "Define a Command and Arguments for a Container".
func command(c *runtimeapi.ContainerConfig, im *image.Image) []string {
	if len(c.Command) > 0 {
		return slices.Concat(c.Command, c.Args)
	}
	if len(c.Args) > 0 {
		return slices.Concat(im.Entrypoint, c.Args)
	}
	return slices.Concat(im.Entrypoint, im.Cmd)
}

// environment returns the process's; what comes later wins.
func environment(c *container, uid int) []string {
	home := "/"
	if uid == 0 {
		home = "/root"
	}
	pairs := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + home}
	if c.sandbox.config.Hostname != "" {
		pairs = append(pairs, "HOSTNAME="+c.sandbox.config.Hostname)
	}
	pairs = append(pairs, c.image.Env...)
	for _, e := range c.config.Envs {
		pairs = append(pairs, e.Key+"="+string(e.Value))
	}
	var env []string
	at := map[string]int{}
	for _, p := range pairs {
		name, _, _ := strings.Cut(p, "=")
		if i, ok := at[name]; ok {
			env[i] = p
			continue
		}
		at[name] = len(env)
		env = append(env, p)
	}
	return env
}

// identityOf returns whom the container runs as.
func identityOf(c *runtimeapi.ContainerConfig, im *image.Image) (inside.Identity, error) {
	security := c.GetLinux().GetSecurityContext()
	bounding, ambient, err := capabilities(security.GetCapabilities())
	i := inside.Identity{
		UID: int(im.User), GID: int(im.GID()), Capabilities: bounding, Ambient: ambient, NoNewPrivileges: security.GetNoNewPrivs(),
	}
	if user := security.GetRunAsUser(); user != nil {
		if user.Value != im.User {
			i.GID = 0 // a user that no /etc/passwd of the image has
		}
		i.UID = int(user.Value)
	}
	if group := security.GetRunAsGroup(); group != nil {
		i.GID = int(group.Value)
	}
	for _, g := range security.GetSupplementalGroups() {
		i.Groups = append(i.Groups, int(g))
	}
	return i, err
}

// mounts returns the image's files, what the containers of the pod share, and
// the volumes, of which the shallower come first.
func (s *Server) mounts(c *container) []inside.Mount {
	var all []inside.Mount
	for target, source := range c.image.Files {
		all = append(all, inside.Mount{Source: source, Target: target, ReadOnly: true})
	}
	dir := s.sandboxDir(c.sandbox.id)
	all = append(all, inside.Mount{Source: filepath.Join(dir, "shm"), Target: "/dev/shm"})
	for _, name := range []string{"hostname", "resolv.conf"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			all = append(all, inside.Mount{Source: filepath.Join(dir, name), Target: "/etc/" + name})
		}
	}
	volumes := slices.Clone(c.config.Mounts)
	depth := func(m *runtimeapi.Mount) int { return strings.Count(filepath.Clean(m.ContainerPath), "/") }
	slices.SortStableFunc(volumes, func(a, b *runtimeapi.Mount) int { return depth(a) - depth(b) })
	for _, m := range volumes {
		all = append(all, inside.Mount{Source: m.HostPath, Target: m.ContainerPath, ReadOnly: m.Readonly, Recursive: m.RecursiveReadOnly})
	}
	return all
}

// RemoveContainer forgets a container, after killing it if need be. It may be
// called again.
func (s *Server) RemoveContainer(_ context.Context, r *runtimeapi.RemoveContainerRequest) (*runtimeapi.RemoveContainerResponse, error) {
	c, err := s.container(r.ContainerId)
	if err != nil {
		return &runtimeapi.RemoveContainerResponse{}, nil
	}
	if err := s.remove(c); err != nil {
		return nil, err
	}
	return &runtimeapi.RemoveContainerResponse{}, nil
}

func (s *Server) remove(c *container) error {
	c.stop(0)
	if err := os.RemoveAll(s.containerDir(c.id)); err != nil {
		return fmt.Errorf("remove container: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.containers, c.id)
	return nil
}

// ReopenContainerLog goes on in a new log file after the kubelet has renamed
// the old one.
func (s *Server) ReopenContainerLog(_ context.Context, r *runtimeapi.ReopenContainerLogRequest) (*runtimeapi.ReopenContainerLogResponse, error) {
	c, err := s.container(r.ContainerId)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.log == nil {
		return nil, status.Errorf(codes.FailedPrecondition, "container %s is not running", c.id)
	}
	if err := c.log.Reopen(); err != nil {
		return nil, err
	}
	return &runtimeapi.ReopenContainerLogResponse{}, nil
}
