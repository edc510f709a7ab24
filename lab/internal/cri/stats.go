package cri

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// stats returns what a container uses and how many processes it has, or nil
// if it does not run.
func (s *Server) stats(c *container, all map[string]usage) (*runtimeapi.ContainerStats, uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.process == nil {
		return nil, 0
	}
	u, ok := all[pidNamespace(c.process.Pid)]
	if !ok {
		return nil, 0
	}
	// A command of exec takes its time with it, but the sum may not fall.
	c.cpuNanoseconds = max(c.cpuNanoseconds, u.cpuNanoseconds)
	u.cpuNanoseconds = c.cpuNanoseconds
	cpu, memory := u.api()
	bytes, inodes := written(c.process.Pid)
	return &runtimeapi.ContainerStats{
		Attributes: &runtimeapi.ContainerAttributes{
			Id: c.id, Metadata: c.config.Metadata, Labels: c.config.Labels, Annotations: c.config.Annotations,
		},
		Cpu: cpu, Memory: memory, WritableLayer: filesystem(s.dir, bytes, inodes),
	}, u.processes
}

func (u usage) api() (*runtimeapi.CpuUsage, *runtimeapi.MemoryUsage) {
	now := time.Now().UnixNano()
	return &runtimeapi.CpuUsage{Timestamp: now, UsageCoreNanoSeconds: number(u.cpuNanoseconds)},
		&runtimeapi.MemoryUsage{
			Timestamp: now, WorkingSetBytes: number(u.residentBytes), UsageBytes: number(u.residentBytes),
			RssBytes: number(u.residentBytes), PageFaults: number(u.minorFaults), MajorPageFaults: number(u.majorFaults),
		}
}

// ContainerStats returns what a container uses.
func (s *Server) ContainerStats(_ context.Context, r *runtimeapi.ContainerStatsRequest) (*runtimeapi.ContainerStatsResponse, error) {
	c, err := s.container(r.ContainerId)
	if err != nil {
		return nil, err
	}
	if st, _ := s.stats(c, measure()); st != nil {
		return &runtimeapi.ContainerStatsResponse{Stats: st}, nil
	}
	return nil, status.Errorf(codes.FailedPrecondition, "container %s is not running", c.id)
}

// ListContainerStats returns what the containers that a filter selects use.
func (s *Server) ListContainerStats(_ context.Context, r *runtimeapi.ListContainerStatsRequest) (*runtimeapi.ListContainerStatsResponse, error) {
	f := r.GetFilter()
	return &runtimeapi.ListContainerStatsResponse{Stats: s.statsOf(f.GetId(), f.GetPodSandboxId(), f.GetLabelSelector(), measure())}, nil
}

func (s *Server) statsOf(id, sandbox string, labels map[string]string, all map[string]usage) []*runtimeapi.ContainerStats {
	var out []*runtimeapi.ContainerStats
	for _, c := range s.selectContainers(id, sandbox, labels) {
		if st, _ := s.stats(c, all); st != nil {
			out = append(out, st)
		}
	}
	return out
}

// PodSandboxStats returns what a pod uses.
func (s *Server) PodSandboxStats(_ context.Context, r *runtimeapi.PodSandboxStatsRequest) (*runtimeapi.PodSandboxStatsResponse, error) {
	sb, err := s.sandbox(r.PodSandboxId)
	if err != nil {
		return nil, err
	}
	return &runtimeapi.PodSandboxStatsResponse{Stats: s.podStats(sb, measure())}, nil
}

// ListPodSandboxStats returns what the pods that a filter selects use.
func (s *Server) ListPodSandboxStats(_ context.Context, r *runtimeapi.ListPodSandboxStatsRequest) (*runtimeapi.ListPodSandboxStatsResponse, error) {
	out, f, all := &runtimeapi.ListPodSandboxStatsResponse{}, r.GetFilter(), measure()
	for _, sb := range s.selectSandboxes(f.GetId(), f.GetLabelSelector()) {
		out.Stats = append(out.Stats, s.podStats(sb, all))
	}
	return out, nil
}

// podStats sums up a pod's containers.
func (s *Server) podStats(sb *sandbox, all map[string]usage) *runtimeapi.PodSandboxStats {
	linux := &runtimeapi.LinuxPodSandboxStats{Network: sb.traffic()}
	var sum usage
	for _, c := range s.selectContainers("", sb.id, nil) {
		st, processes := s.stats(c, all)
		if st == nil {
			continue
		}
		linux.Containers = append(linux.Containers, st)
		sum.processes += processes
	}
	for _, c := range linux.Containers {
		sum.cpuNanoseconds += c.Cpu.UsageCoreNanoSeconds.Value
		sum.residentBytes += c.Memory.RssBytes.Value
		sum.minorFaults += c.Memory.PageFaults.Value
		sum.majorFaults += c.Memory.MajorPageFaults.Value
	}
	linux.Cpu, linux.Memory = sum.api()
	linux.Process = &runtimeapi.ProcessUsage{Timestamp: time.Now().UnixNano(), ProcessCount: number(sum.processes)}
	return &runtimeapi.PodSandboxStats{
		Attributes: &runtimeapi.PodSandboxAttributes{
			Id: sb.id, Metadata: sb.config.Metadata, Labels: sb.config.Labels, Annotations: sb.config.Annotations,
		},
		Linux: linux,
	}
}

// traffic returns what a pod has received and sent, or nil in the node's
// network.
func (sb *sandbox) traffic() *runtimeapi.NetworkUsage {
	if !sb.life.TryRLock() {
		return nil // it is being stopped
	}
	defer sb.life.RUnlock()
	if sb.place == nil {
		return nil
	}
	received, receiveErrors, sent, sendErrors, err := sb.place.Traffic()
	if err != nil {
		return nil
	}
	return &runtimeapi.NetworkUsage{Timestamp: time.Now().UnixNano(), DefaultInterface: &runtimeapi.NetworkInterfaceUsage{
		Name: "eth0", RxBytes: number(received), RxErrors: number(receiveErrors), TxBytes: number(sent), TxErrors: number(sendErrors),
	}}
}
