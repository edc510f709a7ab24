package discover

import (
	"io/fs"
	"path"
	"regexp"
	"strings"

	"sigs.k8s.io/yaml"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/render"
)

// maxReads bounds the directories that kustomizations lead to.
const maxReads = 1000

// Reads tells what rendering a part may read, as far as files tell it: where a
// rendering fails, it did not come to the end.
func (p Part) Reads(s mizzen.Snapshot) *Reading {
	r := &Reading{snapshot: p.Over(s), seen: map[string]bool{}}
	r.add(p.Options.Path)
	for _, file := range p.Options.ValuesFiles {
		if rooted, ok := strings.CutPrefix(file, "/"); ok {
			r.add(rooted)
		} else {
			r.add(path.Join(p.Options.Path, file))
		}
	}
	for i := 0; i < len(r.names) && i < maxReads; i++ {
		r.follow(r.names[i])
	}
	return r
}

// Reading is what a rendering may read. Some of it may not be there.
type Reading struct {
	snapshot mizzen.Snapshot
	names    []string
	seen     map[string]bool
}

// Names are files, and directories.
func (r *Reading) Names() []string { return r.names }

// Has tells whether a file is read: one that is named, a part of a chart but its
// prose, or what looks like a manifest below a directory.
func (r *Reading) Has(file string) bool {
	if r.seen[file] {
		return true
	}
	for directory := path.Dir(file); ; directory = path.Dir(directory) {
		below := strings.TrimPrefix(file, strings.TrimPrefix(directory+"/", "./"))
		if r.seen[directory] && (looksRendered(below) || r.isChart(directory) && path.Ext(file) != prose) {
			return true
		}
		if directory == "." {
			return false
		}
	}
}

func (r *Reading) isChart(directory string) bool {
	_, err := r.snapshot.Stat(path.Join(directory, "Chart.yaml"))
	return err == nil
}

// maxMentions bounds the files that are searched for Applications.
const maxMentions = 5000

// declaring is a line of a manifest, or of a template, that makes it an Application.
var declaring = regexp.MustCompile(`(?m)^\s*kind:\s*["']?(Application|ApplicationSet|Kustomization|HelmRelease)\b`)

// MayDeclare tells whether files, or those below directories, speak of
// Applications, be it in templates that only a rendering makes manifests of.
func MayDeclare(s mizzen.Snapshot, names []string) bool {
	found, searched := false, 0
	for _, name := range names {
		// What cannot be read declares nothing.
		_ = fs.WalkDir(s, name, func(file string, e fs.DirEntry, err error) error {
			if searched++; found || searched > maxMentions {
				return fs.SkipAll
			}
			if err != nil || !e.Type().IsRegular() {
				return nil //nolint:nilerr // as above
			}
			if info, err := s.Stat(file); err == nil && info.Size() <= maxManifest {
				b, err := s.ReadFile(file)
				found = err == nil && mentions(b) && declaring.Match(b)
			}
			return nil
		})
	}
	return found
}

// add adds a name, once.
func (r *Reading) add(name string) {
	if name = path.Clean(name); !r.seen[name] {
		r.seen[name] = true
		r.names = append(r.names, name)
	}
}

// follow adds what the kustomization of a directory names outside of it: every
// text of it that leads up counts, whatever field it is in.
func (r *Reading) follow(directory string) {
	for _, file := range render.KustomizationFiles {
		b, err := r.snapshot.ReadFile(path.Join(directory, file))
		if err != nil {
			continue
		}
		var doc any
		if yaml.Unmarshal(b, &doc) == nil {
			r.walk(directory, doc)
		}
	}
}

func (r *Reading) walk(directory string, value any) {
	switch v := value.(type) {
	case map[string]any:
		for _, e := range v {
			r.walk(directory, e)
		}
	case []any:
		for _, e := range v {
			r.walk(directory, e)
		}
	case string:
		// A generator writes key=file.
		v = v[strings.LastIndexByte(v, '=')+1:]
		if strings.ContainsAny(v, ":\n") {
			return
		}
		name := path.Join(directory, v)
		if _, err := r.snapshot.Stat(name); err == nil {
			r.add(name)
		}
	}
}
