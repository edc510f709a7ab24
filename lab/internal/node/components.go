package node

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A component that ends by itself is started again after backoff, twice as
// long each time up to maxBackoff, unless it has stayed for longer than that.
const (
	backoff    = 250 * time.Millisecond
	maxBackoff = 10 * time.Second
)

// component is one that may fall without taking the node with it.
type component struct {
	name string
	args []string
}

// keep starts c and does so again whenever it ends; failures counts how often
// it has in a row.
func (n *node) keep(c component, failures int) {
	began := time.Now()
	again := func(why string) {
		if time.Since(began) > maxBackoff {
			failures = 0
		}
		wait := min(backoff<<min(failures, 10), maxBackoff)
		n.log.Error("ended", "component", c.name, "why", why, "again", wait)
		n.later(wait, func() error {
			n.keep(c, failures+1)
			return nil
		})
	}
	err := n.startLogged(c.name, c.args, func(end unix.WaitStatus) error {
		again(describe(end))
		return nil
	})
	if err != nil {
		again(err.Error())
	}
}

// later makes f an event after d.
func (n *node) later(d time.Duration, f func() error) {
	time.AfterFunc(d, func() { n.events <- f })
}

// startLogged starts a program of bin, a component of the node, whose output
// goes to a log of its own in the working directory. Its end is an event.
func (n *node) startLogged(name string, args []string, ended func(unix.WaitStatus) error) error {
	log, err := os.OpenFile(name+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("log of %s: %w", name, err)
	}
	defer log.Close()
	err = n.family.start(program{
		path: filepath.Join(n.Bin, name), args: append([]string{name}, args...), output: log, seeing: n.inner,
	}, func(end unix.WaitStatus) {
		n.events <- func() error { return ended(end) }
	})
	if err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	return nil
}

// environment is that of every component. nft and iptables are in directories
// that an ordinary user's PATH may lack; a TMPDIR of the host is not there.
func environment() []string {
	env := []string{"PATH=" + SearchPath(), "TMPDIR=/tmp"}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "PATH=") && !strings.HasPrefix(v, "TMPDIR=") {
			env = append(env, v)
		}
	}
	return env
}

// SearchPath is PATH with the directories of programs for administrators.
func SearchPath() string {
	return strings.TrimPrefix(os.Getenv("PATH")+":/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin", ":")
}

func describe(end unix.WaitStatus) string {
	if end.Signaled() {
		return "signal: " + end.Signal().String()
	}
	return fmt.Sprintf("exit status %d", end.ExitStatus())
}
