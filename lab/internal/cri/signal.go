package cri

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// The real-time signals that libc leaves to programs (signal(7)).
const (
	realtimeMin = unix.Signal(34)
	realtimeMax = unix.Signal(64)
)

// aliases are second names that the CRI has signals for.
var aliases = map[string]string{"SIGCLD": "SIGCHLD", "SIGIOT": "SIGABRT", "SIGPOLL": "SIGIO"}

// stopSignal returns what asks a container to end: the pod's wish, else the
// image's, else SIGTERM.
func stopSignal(pod runtimeapi.Signal, image string) unix.Signal {
	name := pod.String()
	if pod == runtimeapi.Signal_RUNTIME_DEFAULT {
		name = image
	}
	if n, ok := strings.CutPrefix(name, "SIGRTMIN"); ok {
		return realtimeMin + offset(n, "PLUS")
	}
	if n, ok := strings.CutPrefix(name, "SIGRTMAX"); ok {
		return realtimeMax - offset(n, "MINUS")
	}
	if alias := aliases[name]; alias != "" {
		name = alias
	}
	if s := unix.SignalNum(name); s != 0 {
		return s
	}
	return unix.SIGTERM
}

func offset(s, sign string) unix.Signal {
	n, _ := strconv.Atoi(strings.TrimPrefix(s, sign)) // "" is 0
	return unix.Signal(n)
}

// signalName is the CRI's name of a signal.
func signalName(s unix.Signal) runtimeapi.Signal {
	return runtimeapi.Signal(runtimeapi.Signal_value[unix.SignalName(s)])
}
