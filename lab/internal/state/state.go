// Package state is the private directory of a lab: where its files are, what
// the user wants (Spec), what there is (Status), and who may change what
// (locks). Commands write the Spec and wait for a Status that has observed it;
// the supervisor reads the one and writes the other. A process that dies at
// any moment leaves whole files, and locks that the kernel releases.
package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// Variable is the environment variable that names the directory.
const Variable = "MIZZEN_LAB"

// Dir is the directory of a lab, an absolute path.
type Dir string

// Locate returns the directory that is meant: the given one, else that of
// the environment, else .lab in the nearest checkout above the working
// directory.
func Locate(given string) (Dir, error) {
	if given == "" {
		given = os.Getenv(Variable)
	}
	if given != "" {
		abs, err := filepath.Abs(given)
		if err != nil {
			return "", fmt.Errorf("state directory: %w", err)
		}
		return Dir(abs), nil
	}
	wd, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("state directory: %w", err)
	}
	for dir := wd; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, ".git")); err == nil {
			return Dir(filepath.Join(dir, ".lab")), nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("%s is in no checkout: say --dir, or set %s", wd, Variable)
		}
	}
}

// Create makes the directory, readable to its owner only. It refuses one that
// belongs to somebody else.
func (d Dir) Create() error {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	info, err := os.Stat(string(d))
	if err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("state directory %s belongs to user %d: choose another with --dir or %s", d, st.Uid, Variable)
	}
	if err := os.Chmod(string(d), 0o700); err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	return nil
}

func (d Dir) file(name ...string) string {
	return filepath.Join(append([]string{string(d)}, name...)...)
}

// Log is the supervisor's log.
func (d Dir) Log() string { return d.file("lab.log") }

// Clusters has a directory for each cluster.
func (d Dir) Clusters() string { return d.file("clusters") }

// Cluster is the working directory of a cluster.
func (d Dir) Cluster(name string) string { return d.file("clusters", name) }

// ClusterLog is the log of a cluster.
func (d Dir) ClusterLog(name string) string { return d.file("clusters", name, "log") }

// ComponentLog is the log of a component of a live cluster's node.
func (d Dir) ComponentLog(cluster, component string) string {
	return d.file("clusters", cluster, component+".log")
}

// Git has the bare repositories.
func (d Dir) Git() string { return d.file("git") }

// Ports are the ports of the last start, kept so that addresses stay when the
// lab is started again.
type Ports map[string]int

// ReadPorts returns the kept ports; none is no error.
func (d Dir) ReadPorts() (Ports, error) {
	p := Ports{}
	return p, d.read("ports.json", &p)
}

// WritePorts keeps the ports.
func (d Dir) WritePorts(p Ports) error { return d.write("ports.json", p) }

// Reset removes what a stopped lab leaves: with purge everything that is the
// lab's but its locks, else all but the Git repositories, the ports, and what
// programs left.
func (d Dir) Reset(purge bool) error {
	names := []string{"clusters", "status.json", "spec.json", versionFile}
	var errs []error
	if purge {
		logs, err := d.programLogs()
		names = append(append(names, "git", "ports.json", "lab.log", programs), logs...)
		errs = append(errs, err)
	}
	for _, name := range names {
		errs = append(errs, os.RemoveAll(d.file(name)))
	}
	return errors.Join(errs...)
}

// read fills v from a file of JSON. A missing file leaves v alone; so does one
// that is no JSON: the lab starts anew from a damaged directory.
func (d Dir) read(name string, v any) error {
	data, err := os.ReadFile(d.file(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("state: %w", err)
	}
	_ = json.Unmarshal(data, v)
	return nil
}

// write replaces a file of JSON as a whole.
func (d Dir) write(name string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("state: %s: %w", name, err)
	}
	temporary := d.file(name + "." + strconv.Itoa(os.Getpid()))
	if err := os.WriteFile(temporary, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	if err := os.Rename(temporary, d.file(name)); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	return nil
}
