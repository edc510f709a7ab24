package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"mizzen.dev/mizzen/lab/internal/cri/image"
	"mizzen.dev/mizzen/lab/internal/state"
)

// complete fills in what depends on the machine, and makes sure that ranges
// are only chosen where they are used.
func (up *upOptions) complete(flags *pflag.FlagSet) error {
	if up.clusters < 1 || up.nodes < 0 {
		return fmt.Errorf("--clusters %d --nodes %d: want at least one cluster and no fewer than 0 nodes", up.clusters, up.nodes)
	}
	if !up.live {
		for _, name := range []string{"joined", "pod-cidr", "service-cidr", "bin", "images"} {
			if flags.Changed(name) {
				return fmt.Errorf("--%s is for a live node: say --live too", name)
			}
		}
		up.pods, up.services = "", ""
		return nil
	}
	if err := up.locate(); err != nil {
		return err
	}
	if up.images != "" {
		// Inside, a mistake in it would end the node.
		if _, err := image.NewStore([]byte("{}"), up.bin, up.images); err != nil {
			return fmt.Errorf("--images: %w", err)
		}
	}
	return up.spec().CheckRanges(up.clusters)
}

// locate makes the paths of programs and images those that a node finds.
func (up *upOptions) locate() error {
	if up.bin == "" {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("directory of the programs: %w", err)
		}
		up.bin = filepath.Dir(self)
	}
	for _, path := range []*string{&up.bin, &up.images} {
		if *path == "" {
			continue
		}
		abs, err := filepath.Abs(*path)
		if err == nil {
			// Inside, a link may lead to where nothing is.
			abs, err = filepath.EvalSymlinks(abs)
		}
		if err != nil {
			return err
		}
		*path = abs
	}
	return nil
}

// spec is what a lab that starts is told.
func (up *upOptions) spec() state.Spec {
	return state.Spec{
		Clusters: up.clusters, Nodes: up.nodes, IdleSeconds: int(up.idle.Seconds()), Resume: up.resume,
		Live: up.live, PodCIDR: up.pods, ServiceCIDR: up.services, Joined: up.joined, Bin: up.bin, Images: up.images,
	}
}

// begin makes s that of a lab that starts. One that resumes is what it was.
func (up *upOptions) begin(s *state.Spec) error {
	former := *s
	*s = up.spec()
	s.Generation, s.Exposed = former.Generation, former.Exposed
	if !up.resume || former.Clusters == 0 {
		return nil
	}
	if up.live && !former.Live {
		return errors.New("the clusters that were kept have no live node: `lab down`, then `lab up --live`")
	}
	if !former.Live {
		return nil
	}
	if up.live && (up.pods != former.PodCIDR || up.services != former.ServiceCIDR) {
		return fmt.Errorf("the clusters that were kept have pods in %s and Services in %s: say so, or `lab down` first",
			former.PodCIDR, former.ServiceCIDR)
	}
	s.Joined = s.Joined || former.Joined
	s.Live, s.PodCIDR, s.ServiceCIDR = true, former.PodCIDR, former.ServiceCIDR
	if !up.live {
		s.Bin = former.Bin
	}
	s.Images = cmp.Or(s.Images, former.Images)
	return s.CheckRanges(s.Clusters)
}

// join adds to s, which is that of a lab that runs.
func (up *upOptions) join(s *state.Spec) error {
	if err := up.fits(s); err != nil {
		return err
	}
	if up.joined && !s.Joined || s.Joined && up.clusters > s.Clusters {
		return errors.New("clusters are joined when they start: `lab down`, then `lab up --live --joined`")
	}
	s.Clusters = max(s.Clusters, up.clusters)
	if s.Live {
		return s.CheckRanges(s.Clusters)
	}
	return nil
}

// fits fails if a live node is asked for that the lab which runs does not have.
func (up *upOptions) fits(s *state.Spec) error {
	switch {
	case !up.live:
	case !s.Live:
		return errors.New("the lab that runs has no live nodes: `lab down`, then `lab up --live`")
	case up.pods != s.PodCIDR || up.services != s.ServiceCIDR:
		return fmt.Errorf("the lab that runs has pods in %s and Services in %s: `lab down` first", s.PodCIDR, s.ServiceCIDR)
	case up.images != "" && s.Images == "":
		return errors.New("the lab that runs was started without a table of images: `lab down` first")
	case up.images != "" && up.images != s.Images:
		return fmt.Errorf("the lab that runs has the table of images %s: add to it, or `lab down` first", s.Images)
	}
	return nil
}

// prepare looks at what a lab that is to start will find: a directory of
// another version, a disk that is full, and for a live node what the machine
// lacks.
func prepare(ctx context.Context, w io.Writer, dir state.Dir, up upOptions) error {
	status, err := dir.ReadStatus()
	if err != nil {
		return err
	}
	switch other, err := dir.OtherVersion(); {
	case err != nil:
		return err
	case !other:
	case status.Supervisor.Alive():
		return fmt.Errorf("the lab that runs in %s is of another version: `lab down` ends it", dir)
	case up.resume:
		return fmt.Errorf("the clusters in %s are of another version: `lab down` removes them", dir)
	default:
		fmt.Fprintf(w, "lab: the clusters in %s are of another version and start anew\n", dir)
	}
	if status.Supervisor.Alive() {
		return nil
	}
	if err := dir.Create(); err != nil {
		return err
	}
	if _, err := room(dir, needDisk); err != nil || !up.live {
		return err
	}
	return requireLive(ctx, w, dir, up)
}
