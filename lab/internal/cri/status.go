package cri

import (
	"cmp"
	"context"
	"slices"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// matches reports whether labels have what the selector asks for.
func matches(selector, labels map[string]string) bool {
	for k, v := range selector {
		if labels[k] != v {
			return false
		}
	}
	return true
}

func (sb *sandbox) state() runtimeapi.PodSandboxState {
	// One that is being stopped is not ready either; this must not wait for it.
	if !sb.life.TryRLock() {
		return runtimeapi.PodSandboxState_SANDBOX_NOTREADY
	}
	defer sb.life.RUnlock()
	if sb.stopped {
		return runtimeapi.PodSandboxState_SANDBOX_NOTREADY
	}
	return runtimeapi.PodSandboxState_SANDBOX_READY
}

// ListPodSandbox lists the pods that a filter selects.
func (s *Server) ListPodSandbox(_ context.Context, r *runtimeapi.ListPodSandboxRequest) (*runtimeapi.ListPodSandboxResponse, error) {
	out, f := &runtimeapi.ListPodSandboxResponse{}, r.GetFilter()
	for _, sb := range s.selectSandboxes(f.GetId(), f.GetLabelSelector()) {
		state := sb.state()
		if f.GetState() != nil && f.State.State != state {
			continue
		}
		out.Items = append(out.Items, &runtimeapi.PodSandbox{
			Id: sb.id, Metadata: sb.config.Metadata, State: state, CreatedAt: sb.created,
			Labels: sb.config.Labels, Annotations: sb.config.Annotations,
		})
	}
	return out, nil
}

// selectSandboxes returns pods, the oldest first.
func (s *Server) selectSandboxes(id string, labels map[string]string) []*sandbox {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*sandbox
	for _, sb := range s.sandboxes {
		if (id == "" || id == sb.id) && matches(labels, sb.config.Labels) {
			all = append(all, sb)
		}
	}
	slices.SortFunc(all, func(a, b *sandbox) int { return cmp.Compare(a.created, b.created) })
	return all
}

// PodSandboxStatus says how a pod is.
func (s *Server) PodSandboxStatus(_ context.Context, r *runtimeapi.PodSandboxStatusRequest) (*runtimeapi.PodSandboxStatusResponse, error) {
	sb, err := s.sandbox(r.PodSandboxId)
	if err != nil {
		return nil, err
	}
	return &runtimeapi.PodSandboxStatusResponse{Status: &runtimeapi.PodSandboxStatus{
		Id: sb.id, Metadata: sb.config.Metadata, State: sb.state(), CreatedAt: sb.created,
		Network: &runtimeapi.PodSandboxNetworkStatus{Ip: sb.address},
		Labels:  sb.config.Labels, Annotations: sb.config.Annotations,
		Linux: &runtimeapi.LinuxPodSandboxStatus{Namespaces: &runtimeapi.Namespace{
			Options: sb.config.GetLinux().GetSecurityContext().GetNamespaceOptions(),
		}},
	}}, nil
}

// selectContainers returns containers, the oldest first.
func (s *Server) selectContainers(id, sandbox string, labels map[string]string) []*container {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*container
	for _, c := range s.containers {
		if (id == "" || id == c.id) && (sandbox == "" || sandbox == c.sandbox.id) && matches(labels, c.config.Labels) {
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(a, b *container) int { return cmp.Compare(a.created, b.created) })
	return all
}

// ListContainers lists the containers that a filter selects.
func (s *Server) ListContainers(_ context.Context, r *runtimeapi.ListContainersRequest) (*runtimeapi.ListContainersResponse, error) {
	out, f := &runtimeapi.ListContainersResponse{}, r.GetFilter()
	for _, c := range s.selectContainers(f.GetId(), f.GetPodSandboxId(), f.GetLabelSelector()) {
		state := c.current()
		if f.GetState() != nil && f.State.State != state {
			continue
		}
		out.Containers = append(out.Containers, &runtimeapi.Container{
			Id: c.id, PodSandboxId: c.sandbox.id, Metadata: c.config.Metadata, Image: c.config.Image,
			ImageRef: c.image.Name, ImageId: c.image.Name, State: state, CreatedAt: c.created,
			Labels: c.config.Labels, Annotations: c.config.Annotations,
		})
	}
	return out, nil
}

// ContainerStatus says how a container is, or how it has ended.
func (s *Server) ContainerStatus(_ context.Context, r *runtimeapi.ContainerStatusRequest) (*runtimeapi.ContainerStatusResponse, error) {
	c, err := s.container(r.ContainerId)
	if err != nil {
		return nil, err
	}
	i := c.spec.Identity
	user := &runtimeapi.LinuxContainerUser{Uid: int64(i.UID), Gid: int64(i.GID)}
	for _, g := range i.Groups {
		user.SupplementalGroups = append(user.SupplementalGroups, int64(g))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return &runtimeapi.ContainerStatusResponse{Status: &runtimeapi.ContainerStatus{
		Id: c.id, Metadata: c.config.Metadata, State: c.state, CreatedAt: c.created, StartedAt: c.started, FinishedAt: c.finished,
		ExitCode: c.exitCode, Reason: c.reason, Message: c.message,
		Image: c.config.Image, ImageRef: c.image.Name, ImageId: c.image.Name,
		Labels: c.config.Labels, Annotations: c.config.Annotations, Mounts: c.config.Mounts, LogPath: c.logPath,
		User: &runtimeapi.ContainerUser{Linux: user}, StopSignal: signalName(c.stopSignal),
	}}, nil
}
