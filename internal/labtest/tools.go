package labtest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// tools are the programs of the lab in this checkout.
type tools struct {
	// root is the checkout.
	root string
	// version changes with the content of lab/: a lab that an older program
	// started is not shared.
	version string
}

func (t tools) binary(name string) string { return filepath.Join(t.root, "bin", name) }

// builds are the sorts of build.sh, each done once per process.
var builds = map[string]func() (tools, error){
	"control": sync.OnceValues(func() (tools, error) { return build("control") }),
	"live":    sync.OnceValues(func() (tools, error) { return build("live") }),
}

// prepare builds what the parts need, unless it is fresh.
func prepare(parts Part) (tools, error) {
	if parts.live() {
		return builds["live"]()
	}
	return builds["control"]()
}

// build builds what a sort of lab executes, one process at a time.
func build(sort string) (tools, error) {
	root, err := checkout()
	if err != nil {
		return tools{}, err
	}
	cache := filepath.Join(root, ".cache", "labtest")
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return tools{}, fmt.Errorf("build the lab: %w", err)
	}
	lock, err := os.Create(filepath.Join(cache, "build.lock"))
	if err != nil {
		return tools{}, fmt.Errorf("build the lab: %w", err)
	}
	defer lock.Close()
	if err := flock(lock, unix.LOCK_EX); err != nil {
		return tools{}, fmt.Errorf("build the lab: %w", err)
	}
	if out, err := exec.Command(filepath.Join(root, "lab", "build.sh"), sort).CombinedOutput(); err != nil {
		return tools{}, fmt.Errorf("build the lab: %w\n%s", err, out)
	}
	version, err := digest(filepath.Join(root, "bin"))
	if err != nil {
		return tools{}, fmt.Errorf("build the lab: %w", err)
	}
	return tools{root: root, version: version}, nil
}

// digest changes with whatever programs of a lab there are in bin.
func digest(bin string) (string, error) {
	stamps, err := filepath.Glob(filepath.Join(bin, ".*.stamp"))
	if err != nil {
		return "", err
	}
	h := sha256.New()
	for _, name := range stamps {
		stamp, err := os.ReadFile(name)
		if err != nil {
			return "", err
		}
		h.Write(stamp)
	}
	return hex.EncodeToString(h.Sum(nil)[:4]), nil
}

// Kubectl returns the path of a kubectl of the lab's Kubernetes version.
func (l *Lab) Kubectl() string { return l.tools.binary("kubectl") }

// checkout returns the directory of the module that the test belongs to.
func checkout() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the checkout: %w", err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		data, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(data), "module mizzen.dev/mizzen\n") {
			return dir, nil
		}
	}
	return "", errors.New("the test runs outside of Mizzen's checkout")
}
