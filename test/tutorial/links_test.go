package tutorial

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var link = regexp.MustCompile(`\]\(([^)#\s]+)(#[a-z0-9-]+)?\)`)

// TestLinks follows every relative link of the documentation.
func TestLinks(t *testing.T) {
	const root = "../.."
	pages := []string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() && (strings.HasPrefix(d.Name(), ".") && d.Name() != ".." && path != root || d.Name() == "bin" || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if strings.HasSuffix(path, ".md") {
			pages = append(pages, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			to := filepath.Join(filepath.Dir(page), m[1])
			target, err := os.Stat(to)
			if err != nil {
				t.Errorf("%s: no %s", page, m[1])
				continue
			}
			if m[2] == "" || target.IsDir() {
				continue
			}
			heading := regexp.MustCompile(`(?mi)^#+ ` + strings.ReplaceAll(m[2][1:], "-", "[ -]") + `$`)
			if content, err := os.ReadFile(to); err != nil || !heading.Match(content) {
				t.Errorf("%s: %s has no heading %s", page, m[1], m[2])
			}
		}
	}
}
