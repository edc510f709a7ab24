package cli

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"mizzen.dev/mizzen/lab/internal/ports"
	"mizzen.dev/mizzen/lab/internal/state"
)

// What a lab of one cluster needs, with room for a test run beside it.
const (
	// wantMemory is for simulated nodes: the cluster takes a third of it.
	wantMemory = 1 << 30
	// wantLiveMemory is for a mesh: with its shop it takes 2 GB at rest
	// (bench/RESULTS.md), and more while it starts.
	wantLiveMemory = 5 << 29
	wantDisk       = 1 << 30
	// needDisk is what it does not start without: etcd reserves half of it.
	needDisk = 256 << 20
)

// check is one thing that the lab needs of the machine. It returns what was
// found; an error says what to do.
type check struct {
	name string
	run  func(state.Dir, upOptions) (string, error)
}

var checks = []check{
	{"state directory", checkDirectory},
	{"git", checkGit},
	{"ports", checkPorts},
	{"memory", checkMemory},
	{"disk", checkDisk},
}

func newDoctor(o *options) *cobra.Command {
	up := upOptions{clusters: 1, pods: "10.244.0.0/16", services: "10.96.0.0/16"}
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what this machine lacks (exit code 1 if anything)",
		Long: "Says what this machine lacks for a lab, and for nodes whose pods run, each with the command that mends it.\n" +
			"--live=false, or LAB=kwok as for `make up`, leaves out the nodes.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := o.locate()
			if err != nil {
				return err
			}
			var answer error
			for _, c := range checks {
				found, err := c.run(dir, up)
				if err != nil {
					answer = errNo
					fmt.Fprintf(cmd.OutOrStdout(), "FAIL  %s: %v\n", c.name, err)
					continue
				}
				fmt.Fprintf(cmd.OutOrStdout(), "ok    %s: %s\n", c.name, found)
			}
			if err := up.complete(cmd.Flags()); err != nil {
				return err
			}
			if !up.live {
				return answer
			}
			for _, v := range examine(gather(cmd.Context(), dir, up)) {
				if v.remedy != "" && !v.warning {
					answer = errNo
				}
				fmt.Fprintln(cmd.OutOrStdout(), v)
			}
			return answer
		},
	}
	cmd.Flags().BoolVar(&up.live, "live", os.Getenv("LAB") != "kwok", "look at what nodes whose pods run need too")
	cmd.Flags().BoolVar(&up.joined, "joined", false, "look at what `lab up --live --joined` needs too")
	cmd.Flags().StringVar(&up.bin, "bin", "", "directory of the programs of a live node (default that of lab)")
	return cmd
}

func checkDirectory(dir state.Dir, _ upOptions) (string, error) {
	if err := dir.Create(); err != nil {
		return "", err
	}
	probe, err := os.CreateTemp(string(dir), ".doctor-")
	if err != nil {
		return "", fmt.Errorf("%w; choose another with --dir or "+state.Variable, err)
	}
	return string(dir), errors.Join(probe.Close(), os.Remove(probe.Name()))
}

func checkGit(state.Dir, upOptions) (string, error) {
	const remedy = "install it: apt-get install git"
	version, err := exec.Command("git", "--version").Output()
	if err != nil {
		return "", fmt.Errorf("git does not run (%w); %s", err, remedy)
	}
	path, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		return "", fmt.Errorf("git does not run (%w); %s", err, remedy)
	}
	if _, err := os.Stat(filepath.Join(strings.TrimSpace(string(path)), "git-http-backend")); err != nil {
		return "", fmt.Errorf("git has no http-backend (%w); %s", err, remedy)
	}
	return strings.TrimSpace(string(version)), nil
}

func checkPorts(state.Dir, upOptions) (string, error) {
	l, err := ports.Listen(0, false)
	if err != nil {
		return "", err
	}
	return "127.0.0.1 has free ones", l.Close()
}

// checkMemory asks for what a lab of this kind takes. One that runs has it.
func checkMemory(dir state.Dir, up upOptions) (string, error) {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return "", err
	}
	available, err := availableMemory(string(data))
	if err != nil {
		return "", err
	}
	status, err := dir.ReadStatus()
	if err != nil {
		return "", err
	}
	if status.Supervisor.Alive() {
		return fmt.Sprintf("%d MiB available beside the lab that runs", available>>20), nil
	}
	if err := enoughMemory(available, up.live); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d MiB available", available>>20), nil
}

func enoughMemory(available int64, live bool) error {
	want, what := int64(wantMemory), "a cluster takes about 350 and its clients as much"
	if live {
		want, what = wantLiveMemory, "a mesh with its shop takes about 2000, and more while it starts"
	}
	if available < want {
		return fmt.Errorf("%d MiB are available, the lab wants %d: %s; end other programs", available>>20, want>>20, what)
	}
	return nil
}

// availableMemory reads /proc/meminfo (proc_meminfo(5)) and returns bytes.
func availableMemory(meminfo string) (int64, error) {
	for line := range strings.Lines(meminfo) {
		value, ok := strings.CutPrefix(line, "MemAvailable:")
		if !ok {
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/meminfo: %w", err)
		}
		return kib << 10, nil
	}
	return 0, errors.New("/proc/meminfo does not say what is available")
}

func checkDisk(dir state.Dir, _ upOptions) (string, error) { return room(dir, wantDisk) }

// room fails if less is free in the state directory than is wanted.
func room(dir state.Dir, want uint64) (string, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(string(dir), &s); err != nil {
		return "", fmt.Errorf("%s: %w", dir, err)
	}
	free := s.Bavail * uint64(s.Bsize)
	if free < want {
		return "", fmt.Errorf("%d MiB are free in %s, the lab wants %d; make room or choose another with --dir or %s", free>>20, dir, want>>20, state.Variable)
	}
	return fmt.Sprintf("%d MiB free", free>>20), nil
}
