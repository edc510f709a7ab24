// Package supervise is the one process of a lab that all others are children
// of. In come the state directory and its Spec; out comes a Status that says
// how far the lab is. One goroutine owns everything: whatever happens arrives
// as an event, and after each event the wanted state is compared with the
// actual one.
package supervise

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"mizzen.dev/mizzen/lab/internal/cluster"
	"mizzen.dev/mizzen/lab/internal/process"
	"mizzen.dev/mizzen/lab/internal/program"
	"mizzen.dev/mizzen/lab/internal/state"
)

// leftoverGrace is how long a child of a dead supervisor may take to die.
const leftoverGrace = 5 * time.Second

type supervisor struct {
	dir      state.Dir
	log      *slog.Logger
	spawner  *process.Spawner
	events   chan func()
	spec     state.Spec
	ports    state.Ports
	self     process.ID
	started  time.Time
	gitURL   string
	message  string
	children []*child
	// pairs are the links between joined clusters.
	pairs map[pair][2]*os.File
}

// Run supervises the lab in dir until ctx ends, SIGTERM arrives or the lab has
// been idle for as long as the Spec says. The caller holds the supervisor's
// lock. SIGHUP says that the Spec has changed.
func Run(ctx context.Context, dir state.Dir, log *slog.Logger) error {
	ctx, stop := signal.NotifyContext(ctx, unix.SIGTERM, unix.SIGINT)
	defer stop()
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, unix.SIGHUP)
	s, err := newSupervisor(dir, log)
	if err != nil {
		return err
	}
	if err := s.clean(); err != nil {
		return err
	}
	endGit, err := s.serveGit()
	if err != nil {
		return err
	}
	defer endGit()
	idle := make(chan struct{})
	if s.spec.IdleSeconds > 0 {
		go watchIdle(ctx, dir, time.Duration(s.spec.IdleSeconds)*time.Second, idle)
	}
	defer s.end()
	for {
		if err := s.reconcile(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			log.Info("asked to end")
			return nil
		case <-idle:
			log.Info("nobody uses the lab", "seconds", s.spec.IdleSeconds)
			s.end()
			// It was nobody's.
			return errors.Join(program.EndAll(dir), dir.Reset(true))
		case <-changed:
		case event := <-s.events:
			event()
		}
	}
}

func newSupervisor(dir state.Dir, log *slog.Logger) (*supervisor, error) {
	self, err := process.Self()
	if err != nil {
		return nil, err
	}
	spec, err := dir.ReadSpec()
	if err != nil {
		return nil, err
	}
	ports, err := dir.ReadPorts()
	if err != nil {
		return nil, err
	}
	return &supervisor{
		dir: dir, log: log, self: self, spec: spec, ports: ports,
		spawner: process.NewSpawner(), events: make(chan func()), started: time.Now(), pairs: map[pair][2]*os.File{},
	}, nil
}

// clean ends what a dead supervisor may have left, and unless the Spec says to
// resume, removes the former clusters.
func (s *supervisor) clean() error {
	former, err := s.dir.LastStatus()
	if err != nil {
		return err
	}
	for _, c := range former.Clusters {
		if err := c.Process.End(unix.SIGKILL, leftoverGrace); err != nil {
			return fmt.Errorf("%s of the former lab: %w", c.Name, err)
		}
	}
	if !s.spec.Resume {
		if err := os.RemoveAll(s.dir.Clusters()); err != nil {
			return fmt.Errorf("former clusters: %w", err)
		}
	}
	return s.dir.WriteVersion()
}

// reconcile reads the Spec, starts and ends clusters until they are as it
// says, and publishes the Status.
func (s *supervisor) reconcile() error {
	spec, err := s.dir.ReadSpec()
	if err != nil {
		return err
	}
	s.spec = spec
	for i := len(s.children); i < spec.Clusters; i++ {
		s.children = append(s.children, newChild(s, fmt.Sprintf("cluster-%d", i+1)))
	}
	for _, c := range s.children {
		switch {
		case !spec.Wants(c.view.Name):
			c.stop()
		case c.due():
			c.start()
		}
	}
	return s.dir.WriteStatus(s.status())
}

func (s *supervisor) status() state.Status {
	status := state.Status{
		State: state.Ready, ObservedGeneration: s.spec.Generation,
		Supervisor: s.self, StartedAt: s.started, Message: s.message,
		URLs: map[string]string{"git": s.gitURL},
	}
	for _, c := range s.children {
		status.Clusters = append(status.Clusters, c.view)
		if c.view.State != state.Ready && c.view.State != state.Stopped {
			status.State = state.Starting
		}
	}
	return status
}

// end kills all children and waits for them.
func (s *supervisor) end() {
	for _, c := range s.children {
		c.stop()
	}
	for _, c := range s.children {
		if err := c.view.Process.End(unix.SIGKILL, leftoverGrace); err != nil {
			s.log.Error("end", "cluster", c.view.Name, "err", err)
		}
	}
}

func (s *supervisor) remember(name string, port int) {
	if s.ports[name] == port {
		return
	}
	s.ports[name] = port
	if err := s.dir.WritePorts(s.ports); err != nil {
		s.log.Error("keep ports", "err", err)
	}
}

func (s *supervisor) path(name, file string) string {
	return filepath.Join(s.dir.Cluster(name), file)
}

func (s *supervisor) view(name string) state.Cluster {
	return state.Cluster{
		Name: name, State: state.Starting, Log: s.dir.ClusterLog(name),
		Live:       s.spec.Live,
		Kubeconfig: s.path(name, cluster.KubeconfigFile), AuditLog: s.path(name, cluster.AuditLogFile),
		URLs: map[string]string{"git": s.gitURL},
	}
}
