package cri

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// stats returns what a container uses, or nil if it does not run.
func (s *Server) stats(c *container, all map[string]usage) *runtimeapi.ContainerStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.process == nil {
		return nil
	}
	u, ok := all[pidNamespace(c.process.Pid)]
	if !ok {
		return nil
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
	}
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
	if st := s.stats(c, measure()); st != nil {
		return &runtimeapi.ContainerStatsResponse{Stats: st}, nil
	}
	return nil, status.Errorf(codes.FailedPrecondition, "container %s is not running", c.id)
}

// ListContainerStats returns what the containers that a filter selects use.
func (s *Server) ListContainerStats(_ context.Context, r *runtimeapi.ListContainerStatsRequest) (*runtimeapi.ListContainerStatsResponse, error) {
	out, f, all := &runtimeapi.ListContainerStatsResponse{}, r.GetFilter(), measure()
	for _, c := range s.selectContainers(f.GetId(), f.GetPodSandboxId(), f.GetLabelSelector()) {
		if st := s.stats(c, all); st != nil {
			out.Stats = append(out.Stats, st)
		}
	}
	return out, nil
}
