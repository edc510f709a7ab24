package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// version grows when a lab cannot go on with the clusters of a former one.
const version = 2

const versionFile = "version"

// OtherVersion reports whether the clusters in the directory were made by a lab
// of another version. Git repositories and ports are the same in all.
func (d Dir) OtherVersion() (bool, error) {
	if _, err := os.Stat(d.Clusters()); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("state: %w", err)
	}
	data, err := os.ReadFile(d.file(versionFile))
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	} else if err != nil {
		return false, fmt.Errorf("state: %w", err)
	}
	return strings.TrimSpace(string(data)) != strconv.Itoa(version), nil
}

// WriteVersion says that the clusters, from now on, are of this version.
func (d Dir) WriteVersion() error {
	if err := os.WriteFile(d.file(versionFile), []byte(strconv.Itoa(version)+"\n"), 0o600); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	return nil
}
