// Package health says whether an object of a cluster is up: a full object goes
// in, a Judgement comes out. It reads no cluster and writes nothing.
//
// Three sources are asked in turn, and the first with an opinion wins: CEL
// rules of our own (rules/*.yaml), the Lua scripts of Argo CD, and kstatus,
// which Flux uses. So a kind is judged as its users know it, except where a
// rule of ours knows better.
package health

import (
	"context"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"mizzen.dev/mizzen/internal/health/script"
)

// Status is the health of an object, in the words of Argo CD.
type Status string

// The statuses.
const (
	// Healthy: it is up, or there is nothing to be up.
	Healthy Status = "Healthy"
	// Suspended: somebody stopped it on purpose.
	Suspended Status = "Suspended"
	// Progressing: it is not up yet, and may still come up by itself.
	Progressing Status = "Progressing"
	// Unknown: it cannot be told.
	Unknown Status = "Unknown"
	// Missing: the object does not exist.
	Missing Status = "Missing"
	// Degraded: it is broken, and waiting does not help.
	Degraded Status = "Degraded"
)

// Valid tells whether s is one of the statuses above.
func (s Status) Valid() bool { return s.rank() >= 0 }

// rank orders the statuses from good to bad; -1 is no status.
func (s Status) rank() int {
	switch s {
	case Healthy:
		return 0
	case Suspended:
		return 1
	case Progressing:
		return 2
	case Unknown:
		return 3
	case Missing:
		return 4
	case Degraded:
		return 5
	}
	return -1
}

// Judgement is what is said of one object.
type Judgement struct {
	Status Status
	// Message is state and cause in words, on one line of at most 1 KiB. It
	// holds no time and no count that changes while nothing happens, so that a
	// condition made of it does not flap. It may be empty if Healthy.
	Message string
}

// judgeTimeout bounds the judging of one object. It is a last resort: what can
// take long is counted in steps, not in time.
const judgeTimeout = 2 * time.Second

// Options configures a Judge.
type Options struct {
	// Rules are asked before the built-in ones.
	Rules []Rule
}

// Judge judges objects. It is safe for concurrent use.
type Judge struct {
	env    *environment
	extra  []*ruleset
	own    []*ruleset
	exists map[string]bool
	corpus *corpus
	plans  planCache
}

// New returns a Judge. It fails with Kind Invalid if a rule of the options is
// not valid. The built-in rules and scripts are compiled when they are first
// needed.
func New(o Options) (*Judge, error) {
	env, err := newEnvironment()
	if err != nil {
		return nil, err
	}
	j := &Judge{env: env, corpus: argoCorpus()}
	for _, r := range o.Rules {
		set, err := env.compile(r)
		if err != nil {
			return nil, invalidRule(r, err)
		}
		j.extra = append(j.extra, set)
	}
	builtIn, err := loadBuiltIn()
	if err != nil {
		return nil, err
	}
	for _, r := range builtIn.Rules {
		j.own = append(j.own, env.lazily(r))
	}
	j.exists = map[string]bool{}
	for _, kind := range builtIn.Exist {
		j.exists[kind] = true
	}
	return j, nil
}

// Judge says whether an object is up. A nil object is Missing. For kinds that
// need no object (see NeedsObject), its metadata is enough. The object is not
// changed.
func (j *Judge) Judge(ctx context.Context, obj *unstructured.Unstructured) Judgement {
	if obj == nil || obj.Object == nil {
		return Judgement{Status: Missing, Message: "does not exist"}
	}
	if obj.GetDeletionTimestamp() != nil {
		return Judgement{Status: Progressing, Message: tidy(beingDeleted(obj))}
	}
	plan := j.plan(obj.GroupVersionKind().GroupKind())
	if plan.exists {
		return Judgement{Status: Healthy}
	}
	ctx, cancel := context.WithTimeout(ctx, judgeTimeout)
	defer cancel()
	result := plan.judge(ctx, obj)
	result.Message = tidy(result.Message)
	return result
}

// beingDeleted says what a deletion waits for.
func beingDeleted(obj *unstructured.Unstructured) string {
	var waits []string
	for _, c := range conditionsOf(obj.Object) {
		// A Namespace tells what is left in it.
		if obj.GetKind() == "Namespace" && c.status == "True" && c.message != "" {
			waits = append(waits, c.message)
		}
	}
	if finalizers := obj.GetFinalizers(); len(waits) == 0 && len(finalizers) > 0 {
		waits = append(waits, "finalizer "+strings.Join(finalizers, ", "))
	}
	if len(waits) == 0 {
		return "being deleted"
	}
	return "being deleted; waits for " + strings.Join(waits, "; ")
}

// judge asks the sources in turn.
func (p *plan) judge(ctx context.Context, obj *unstructured.Unstructured) Judgement {
	for _, set := range p.rules {
		if result, decided := set.judge(ctx, obj); decided {
			return result
		}
	}
	if p.script != nil {
		if result, decided := p.judgeByScript(ctx, obj); decided {
			return result
		}
	}
	return judgeByStatus(obj)
}

// judgeByScript runs the Lua script of the kind. A script often trips over an
// object that is too new to have a status; that is no defect of either.
func (p *plan) judgeByScript(ctx context.Context, obj *unstructured.Unstructured) (Judgement, bool) {
	compiled, err := p.script()
	var result script.Result
	if err == nil {
		result, err = compiled.Run(ctx, obj.Object)
	}
	_, hasStatus := obj.Object["status"]
	switch {
	case err != nil && !hasStatus && !isLimit(err):
		return Judgement{Status: Progressing, Message: "waits for its controller: there is no status yet"}, true
	case err != nil:
		return Judgement{Status: Unknown, Message: "health script failed: " + err.Error()}, true
	case result.Status == "":
		return Judgement{}, false
	case !Status(result.Status).Valid():
		return Judgement{Status: Unknown, Message: "health script returned the unknown status " + result.Status}, true
	case result.Status == string(Healthy):
		// Most scripts do not ask whether the status is about this spec.
		if stale, message := notObserved(obj.Object); stale {
			return Judgement{Status: Progressing, Message: message}, true
		}
	}
	return Judgement{Status: Status(result.Status), Message: result.Message}, true
}

// maxMessage bounds a message in bytes; conditions allow 32 KiB, a line that a
// person reads is shorter.
const maxMessage = 1024

// tidy makes one bounded line of valid UTF-8 out of what an object says.
func tidy(message string) string {
	if len(message) > 4*maxMessage {
		message = message[:4*maxMessage]
	}
	message = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(message, "�"), isBlank), " ")
	if len(message) > maxMessage {
		message = strings.ToValidUTF8(message[:maxMessage-len("…")], "") + "…"
	}
	return message
}

// isBlank also takes control characters, which have no place on a terminal.
func isBlank(r rune) bool {
	return r <= ' ' || r >= 0x7f && r <= 0xa0 || r == 0x2028 || r == 0x2029
}
