package health

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/google/cel-go/cel"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/expression"
)

// Rule judges the objects of some kinds by CEL.
type Rule struct {
	// Kinds are group/Kind, or the kind alone for the core group. "*" matches
	// any characters but "/". A rule that names a kind is asked before one
	// that only matches it.
	Kinds []string `json:"kinds"`
	// Source is where the meaning of the fields is documented.
	Source string `json:"source,omitempty"`
	// Cases are tried in order; the first that holds decides. If none does,
	// the next source of health is asked.
	Cases []Case `json:"cases"`
}

// Case is one branch of a Rule.
type Case struct {
	// When is a CEL expression that yields a bool; empty always holds. It sees
	// the maps object, metadata, spec and status (empty where absent), the
	// number generation, the bool observed (status is about this generation,
	// or does not say), and conditions, a map by type, with the functions
	//
	//	conditions.is(type, status)  it has the status, for this generation
	//	conditions.waits(type)       it is absent, Unknown or of an earlier generation
	//	conditions.why(type)         its message, or else its reason
	//	conditions.reason(type)      its reason, or ""
	//	conditionsOf(map, generation)  the same for another map with conditions
	//	list.join(separator)
	When   string `json:"when,omitempty"`
	Status Status `json:"status"`
	// Message is text with CEL expressions in ${…}.
	Message string `json:"message,omitempty"`
}

// ParseRules reads a YAML document of the form {rules: [Rule…]}. It fails with
// Kind Invalid.
func ParseRules(document []byte) ([]Rule, error) {
	var file ruleFile
	if err := yaml.UnmarshalStrict(document, &file); err != nil {
		return nil, &mizzen.Error{Kind: mizzen.Invalid, Object: "health rules", Err: err}
	}
	return file.Rules, nil
}

// ruleFile is one document of rules.
type ruleFile struct {
	// Exist lists the kinds whose existence is their health.
	Exist []string `json:"exist,omitempty"`
	Rules []Rule   `json:"rules,omitempty"`
}

//go:embed rules/*.yaml
var builtInRules embed.FS

// loadBuiltIn reads the embedded rules once per process.
var loadBuiltIn = sync.OnceValues(func() (*ruleFile, error) {
	all := &ruleFile{}
	names, err := fs.Glob(builtInRules, "rules/*.yaml")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		document, err := builtInRules.ReadFile(name)
		if err != nil {
			return nil, err
		}
		var file ruleFile
		if err := yaml.UnmarshalStrict(document, &file); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all.Exist = append(all.Exist, file.Exist...)
		all.Rules = append(all.Rules, file.Rules...)
	}
	return all, nil
})

func invalidRule(r Rule, err error) error {
	return &mizzen.Error{
		Kind: mizzen.Invalid, Object: "health rule for " + strings.Join(r.Kinds, ", "), Err: err,
		Remedy: "correct the rule's expressions",
	}
}

// ruleset is a Rule, compiled when it is first asked.
type ruleset struct {
	kinds []string
	cases func() ([]compiledCase, error)
}

type compiledCase struct {
	when    *expression.Expression // nil always holds
	status  Status
	message *expression.Expression // nil is no message
}

func (s *ruleset) names(gk schema.GroupKind) bool { return slices.Contains(s.kinds, kindName(gk)) }

func (s *ruleset) matches(gk schema.GroupKind) bool {
	return slices.ContainsFunc(s.kinds, func(pattern string) bool {
		ok, err := path.Match(pattern, kindName(gk))
		return ok && err == nil
	})
}

// compile checks a rule and makes it ready.
func (e *environment) compile(r Rule) (*ruleset, error) {
	cases, err := e.compileCases(r)
	if err != nil {
		return nil, err
	}
	return &ruleset{kinds: r.Kinds, cases: func() ([]compiledCase, error) { return cases, nil }}, nil
}

// lazily is compile for a rule that a test has checked.
func (e *environment) lazily(r Rule) *ruleset {
	return &ruleset{kinds: r.Kinds, cases: sync.OnceValues(func() ([]compiledCase, error) { return e.compileCases(r) })}
}

func (e *environment) compileCases(r Rule) ([]compiledCase, error) {
	if len(r.Kinds) == 0 || len(r.Cases) == 0 {
		return nil, errors.New("a rule needs kinds and cases")
	}
	for _, pattern := range r.Kinds {
		if _, err := path.Match(pattern, ""); err != nil {
			return nil, fmt.Errorf("kind %q: %w", pattern, err)
		}
	}
	compiled := make([]compiledCase, 0, len(r.Cases))
	for i, c := range r.Cases {
		one, err := e.compileCase(c)
		if err != nil {
			return nil, fmt.Errorf("case %d: %w", i+1, err)
		}
		compiled = append(compiled, one)
	}
	return compiled, nil
}

func (e *environment) compileCase(c Case) (compiledCase, error) {
	if !c.Status.Valid() {
		return compiledCase{}, fmt.Errorf("%q is no status", c.Status)
	}
	compiled := compiledCase{status: c.Status}
	var err error
	if c.When != "" {
		if compiled.when, err = e.program(c.When, cel.BoolType); err != nil {
			return compiledCase{}, err
		}
	}
	if c.Message != "" {
		source, err := concatenation(c.Message)
		if err != nil {
			return compiledCase{}, err
		}
		if compiled.message, err = e.program(source, cel.StringType); err != nil {
			return compiledCase{}, err
		}
	}
	return compiled, nil
}

// judge returns what the first case that holds says. A case that cannot be
// evaluated makes the health Unknown: to skip it might call a broken object up.
func (s *ruleset) judge(ctx context.Context, obj *unstructured.Unstructured) (Judgement, bool) {
	cases, err := s.cases()
	if err != nil {
		return ruleFailed(err), true
	}
	vars := variables(obj.Object)
	for _, c := range cases {
		holds := true
		if c.when != nil {
			if holds, err = evaluate[bool](ctx, c.when, vars); err != nil {
				return ruleFailed(err), true
			}
		}
		if !holds {
			continue
		}
		result := Judgement{Status: c.status}
		if c.message != nil {
			if result.Message, err = evaluate[string](ctx, c.message, vars); err != nil {
				return ruleFailed(err), true
			}
		}
		return result, true
	}
	return Judgement{}, false
}

func ruleFailed(err error) Judgement {
	return Judgement{Status: Unknown, Message: "health rule failed: " + err.Error()}
}
