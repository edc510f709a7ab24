package health

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/argoproj/argo-cd/v3/resource_customizations"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"mizzen.dev/mizzen/internal/health/script"
)

// corpus holds Argo CD's health scripts. Its directories are group/Kind, where
// "_" stands for any number of characters: _.crossplane.io/_ is every kind of
// every group below crossplane.io. A directory that names the kind wins; of
// those that match, the first by name does, as in Argo CD.
type corpus struct {
	exact    map[string]func() (*script.Script, error)
	patterns []corpusPattern
}

type corpusPattern struct {
	pattern string
	script  func() (*script.Script, error)
}

// argoCorpus indexes the scripts once per process; each is compiled when an
// object of its kind is first judged.
var argoCorpus = sync.OnceValue(func() *corpus { return newCorpus(resource_customizations.Embedded) })

func newCorpus(files fs.FS) *corpus {
	c := &corpus{exact: map[string]func() (*script.Script, error){}}
	// The file system is part of the binary: it cannot fail to be read.
	names, _ := fs.Glob(files, "*/*/health.lua")
	slices.Sort(names)
	for _, name := range names {
		kind := path.Dir(name)
		compiled := sync.OnceValues(func() (*script.Script, error) {
			source, err := fs.ReadFile(files, name)
			if err != nil {
				return nil, err
			}
			return script.Compile(kind, string(source))
		})
		if strings.Contains(kind, "_") {
			c.patterns = append(c.patterns, corpusPattern{strings.ReplaceAll(kind, "_", "*"), compiled})
			continue
		}
		c.exact[kind] = compiled
	}
	return c
}

// find returns the script of a kind, nil if there is none.
func (c *corpus) find(gk schema.GroupKind) func() (*script.Script, error) {
	name := kindName(gk)
	if found := c.exact[name]; found != nil {
		return found
	}
	for _, p := range c.patterns {
		if ok, _ := path.Match(p.pattern, name); ok {
			return p.script
		}
	}
	return nil
}

// isLimit tells whether a judgement was cut off rather than wrong.
func isLimit(err error) bool {
	return errors.Is(err, script.ErrBudget) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}
