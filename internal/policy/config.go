package policy

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/google/cel-go/cel"
	"go.yaml.in/yaml/v3"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/expression"
)

// Limits of a policy file.
const (
	maxFile   = 256 << 10
	maxScopes = 100
	maxRules  = 100
	maxGlobs  = 200
	maxText   = 500
)

// parser turns the nodes of a policy file into a Policy.
type parser struct {
	decoder
	policy *Policy
	env    *cel.Env
	names  map[string]bool
}

// Parse reads a policy file; name is told in errors and in the Verdict, such as
// ".mizzen.yaml at 0123abcd". An empty document is Default. It fails with Kind
// Invalid, or TooLarge; the error names the line.
func Parse(name string, document []byte) (*Policy, error) {
	p := parser{decoder: decoder{file: FileName}, policy: Default(), names: map[string]bool{}}
	p.policy.source = name
	if len(document) > maxFile {
		return nil, &mizzen.Error{
			Kind: mizzen.TooLarge, Origin: mizzen.Origin{File: FileName}, Err: errors.New("has more than 256 KiB"), Remedy: "shorten the file",
		}
	}
	var err error
	if p.env, err = newEnvironment(); err != nil {
		return nil, err
	}
	root, err := p.document(document)
	if err != nil || root == nil {
		return p.policy, err
	}
	if err := p.fields(root, map[string]field{"policy": p.parsePolicy}); err != nil {
		return nil, err
	}
	return p.policy, nil
}

// document returns the root of the only document, nil if it is empty.
func (p *parser) document(content []byte) (*yaml.Node, error) {
	dec := yaml.NewDecoder(strings.NewReader(string(content)))
	var doc, second yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, notYAML(content, err)
	}
	if err := dec.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, p.fail(&doc, "keep one document, without ---", "there is a second document")
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return nil, nil
	}
	return root, nil
}

// lineOf is how the YAML library tells the line, if it does.
var lineOf = regexp.MustCompile(`^yaml: line (\d+): `)

// notYAML is the error of a file that is no YAML, with the line; at its end, the
// last one.
func notYAML(content []byte, err error) error {
	e := &mizzen.Error{Kind: mizzen.Invalid, Origin: mizzen.Origin{File: FileName}, Err: err, Remedy: "correct the YAML"}
	if m := lineOf.FindStringSubmatch(err.Error()); m != nil {
		if line, convErr := strconv.Atoi(m[1]); convErr == nil {
			text := strings.TrimPrefix(err.Error(), m[0])
			if strings.HasPrefix(text, "did not find expected") {
				line++ // the library's parser counts from 0, its scanner from 1
			}
			last := bytes.Count(bytes.TrimRight(content, "\n"), []byte("\n")) + 1
			e.Origin.Line, e.Err = min(line, last), errors.New("it is no YAML: "+text)
		}
	}
	return e
}

func (p *parser) parsePolicy(n *yaml.Node) error {
	return p.fields(n, map[string]field{
		"guardrails": func(n *yaml.Node) error { return p.levels(n, p.policy.levels) },
		"scopes":     func(n *yaml.Node) error { return p.list(n, maxScopes, p.parseScope) },
		"stateful":   func(n *yaml.Node) (err error) { p.policy.stateful, err = p.globs(n); return err },
		"rules":      func(n *yaml.Node) error { return p.list(n, maxRules, p.parseRule) },
	})
}

// levels reads a map of guardrails.
func (p *parser) levels(n *yaml.Node, into map[string]mizzen.Level) error {
	known := make(map[string]field, len(guardrails))
	for _, g := range guardrails {
		known[g.name] = func(n *yaml.Node) error {
			level, err := p.level(n)
			into[g.name] = level
			return err
		}
	}
	return p.fields(n, known)
}

func (p *parser) level(n *yaml.Node) (mizzen.Level, error) {
	// YAML 1.1 reads off as false; here it is the word that it looks like.
	text := mizzen.Level(n.Value)
	if n.Kind != yaml.ScalarNode || !slices.Contains(mizzen.Levels, text) {
		return "", p.fail(n, "use one of deny, approval, warn, off", "%s is no level", describe(n))
	}
	return text, nil
}

func (p *parser) parseScope(n *yaml.Node) error {
	s := scope{levels: map[string]mizzen.Level{}}
	known := p.selectorFields(&s.selector)
	known["name"] = func(n *yaml.Node) (err error) { s.name, err = p.text(n); return err }
	known["guardrails"] = func(n *yaml.Node) error { return p.levels(n, s.levels) }
	if err := p.fields(n, known); err != nil {
		return err
	}
	switch {
	case s.selector.empty():
		return p.fail(n, "name namespaces or applications", "the scope selects nothing in particular")
	case len(s.levels) == 0:
		return p.fail(n, "add guardrails with their levels", "the scope sets no level")
	}
	p.policy.scopes = append(p.policy.scopes, s)
	return nil
}

func (p *parser) selectorFields(s *selector) map[string]field {
	return map[string]field{
		"namespaces":   func(n *yaml.Node) (err error) { s.namespaces, err = p.globs(n); return err },
		"applications": func(n *yaml.Node) (err error) { s.applications, err = p.globs(n); return err },
	}
}

// globs reads a list of patterns as path.Match knows them.
func (p *parser) globs(n *yaml.Node) ([]string, error) {
	var globs []string
	err := p.list(n, maxGlobs, func(n *yaml.Node) error {
		glob, err := p.text(n)
		if err != nil {
			return err
		}
		if _, err := path.Match(glob, ""); err != nil || glob == "" {
			return p.fail(n, "use * and ?, and [a-z] for a set", "%q is no pattern", glob)
		}
		globs = append(globs, glob)
		return nil
	})
	if err == nil && len(globs) == 0 {
		return nil, p.fail(n, "add a pattern, or leave the field out", "the list is empty")
	}
	return globs, err
}

func (p *parser) parseRule(n *yaml.Node) error {
	r := rule{}
	var source *yaml.Node
	known := p.selectorFields(&r.selector)
	known["name"] = func(n *yaml.Node) (err error) { r.name, err = p.ruleName(n); return err }
	known["level"] = func(n *yaml.Node) (err error) { r.level, err = p.level(n); return err }
	known["message"] = func(n *yaml.Node) (err error) { r.message, err = p.text(n); return err }
	known["remedy"] = func(n *yaml.Node) (err error) { r.remedy, err = p.text(n); return err }
	known["expression"] = func(n *yaml.Node) error { source = n; return nil }
	if err := p.fields(n, known); err != nil {
		return err
	}
	if r.name == "" || r.level == "" || r.message == "" || source == nil {
		return p.fail(n, "give each rule a name, a level, a message and an expression", "the rule lacks one of its parts")
	}
	text, err := p.longText(source, expression.MaxSource)
	if err != nil {
		return err
	}
	if r.violated, err = expression.Compile(p.env, text, costLimit, yields); err != nil {
		return p.fail(source, "correct the expression; docs/reference/policy.md tells the variables", "rule %s: %w", r.name, err)
	}
	p.policy.rules = append(p.policy.rules, r)
	return nil
}

// ruleName reads a name that no other rule and no guardrail has.
func (p *parser) ruleName(n *yaml.Node) (string, error) {
	name, err := p.text(n)
	if err != nil {
		return "", err
	}
	if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || name == "" {
		return "", p.fail(n, "use lower-case letters, digits and dashes", "%q is no name of a rule", name)
	}
	if _, taken := builtInLevels()[name]; taken || p.names[name] {
		return "", p.fail(n, "choose another name", "there is already a rule or guardrail %s", name)
	}
	p.names[name] = true
	return name, nil
}

// known lists the names of fields, for a remedy.
func known(fields map[string]field) string {
	return strings.Join(slices.Sorted(maps.Keys(fields)), ", ")
}
