//go:build !linux || (!amd64 && !arm64)

package sandbox

import (
	"errors"
	"os"
	"runtime"
)

// Supported returns what Enter would be able to do here.
func Supported() Report {
	var r Report
	r.add(Environment, nil)
	why := errors.New("not implemented for " + runtime.GOOS + "/" + runtime.GOARCH)
	for _, p := range []Protection{NoNewPrivs, Descriptors, Limits, Seccomp, Landlock} {
		r.add(p, why)
	}
	return r
}

// Enter clears the environment, which is all that it can do on this system,
// and reports what is missing.
func Enter(Bounds) Report {
	os.Clearenv()
	return Supported()
}
