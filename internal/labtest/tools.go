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

// build builds bin/lab and bin/kubectl unless they are fresh, once per
// process, and one process at a time.
var build = sync.OnceValues(func() (tools, error) {
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
	if out, err := exec.Command(filepath.Join(root, "lab", "build.sh")).CombinedOutput(); err != nil {
		return tools{}, fmt.Errorf("build the lab: %w\n%s", err, out)
	}
	stamp, err := os.ReadFile(filepath.Join(root, "bin", ".lab.stamp"))
	if err != nil {
		return tools{}, fmt.Errorf("build the lab: %w", err)
	}
	sum := sha256.Sum256(stamp)
	return tools{root: root, version: hex.EncodeToString(sum[:4])}, nil
})

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
