package engine

import (
	"errors"

	"mizzen.dev/mizzen"
)

// RenderFinding is the Finding of files that cannot be rendered, by the error of
// rendering a directory; not ok if it is not their fault.
func RenderFinding(directory string, err error) (f mizzen.Finding, ok bool) {
	var known *mizzen.Error
	if !errors.As(err, &known) || known.Kind == mizzen.Internal || known.Kind == mizzen.Unreachable {
		return f, false
	}
	f = mizzen.Finding{
		Code: mizzen.CodeRenderFailed, Severity: mizzen.Fatal, Message: string(known.Kind), Remedy: known.Remedy, Origin: known.Origin,
	}
	if known.Err != nil {
		f.Message = known.Err.Error()
	}
	if f.Origin.File == "" {
		f.Origin.File = directory
	}
	if known.Object != "" && known.Object != directory {
		f.Message = known.Object + ": " + f.Message
	}
	return f, true
}
