package mizzen

import (
	"errors"
	"strings"
)

// Kind classes an error by what can be done about it.
type Kind string

// The kinds of errors.
const (
	// Invalid: what the user wrote is wrong; retrying cannot help.
	Invalid Kind = "Invalid"
	// Refused: the input asks for something that Mizzen never does, such as
	// leaving the repository or running a plugin.
	Refused Kind = "Refused"
	// NotFound: a path, revision, object or kind does not exist.
	NotFound Kind = "NotFound"
	// Forbidden: an identity lacks a permission or a credential is wrong.
	Forbidden Kind = "Forbidden"
	// Conflict: somebody else owns it, or changed it meanwhile.
	Conflict Kind = "Conflict"
	// Unreachable: a server does not answer; retrying may help.
	Unreachable Kind = "Unreachable"
	// Timeout: there was no result in time.
	Timeout Kind = "Timeout"
	// TooLarge: a limit of size, number or memory was exceeded.
	TooLarge Kind = "TooLarge"
	// Internal: a defect of Mizzen itself.
	Internal Kind = "Internal"
)

// Error is an error that a user can act on: which object, what failed and
// why, and what to do next.
type Error struct {
	Kind Kind
	// Object is what the error is about: a Ref, a repository, a file.
	Object string
	// Origin is the place in the repository to look at, if there is one.
	Origin Origin
	// Err is the cause.
	Err error
	// Remedy is what the user does next, as an imperative sentence.
	Remedy string
}

// Error returns "object (file:line): cause. Remedy" without the parts that
// are empty.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Object)
	if at := e.Origin.String(); at != "" && at != e.Object {
		if b.Len() > 0 {
			b.WriteString(" (" + at + ")")
		} else {
			b.WriteString(at)
		}
	}
	if b.Len() > 0 {
		b.WriteString(": ")
	}
	if e.Err != nil {
		b.WriteString(e.Err.Error())
	} else {
		b.WriteString(strings.ToLower(string(e.Kind)))
	}
	if e.Remedy != "" {
		b.WriteString("; " + e.Remedy)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the Kind of the outermost Error in err's chain, or Internal
// if there is none. It is "" for nil.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}
