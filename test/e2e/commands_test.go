package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// pause is how often a condition or the output of a command is looked at.
const pause = 50 * time.Millisecond

var (
	applications = schema.GroupVersionResource{Group: "mizzen.dev", Version: "v1alpha1", Resource: "applications"}
	repositories = schema.GroupVersionResource{Group: "mizzen.dev", Version: "v1alpha1", Resource: "repositories"}
)

// condition waits until a condition of an Application reads "STATUS REASON
// MESSAGE" as the regular expression says; with ! until there is none such.
func condition(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: condition APP TYPE RE")
	}
	re, err := regexp.Compile("^(?s:" + args[2] + ")")
	ts.Check(err)
	s := of(ts)
	client, err := dynamic.NewForConfig(s.lab.Config)
	ts.Check(err)
	var app *unstructured.Unstructured
	for deadline := time.Now().Add(*patience); time.Now().Before(deadline); time.Sleep(pause) {
		app, err = client.Resource(applications).Namespace(s.ns).Get(s.t.Context(), args[0], metav1.GetOptions{})
		if err == nil && re.MatchString(conditionText(app, args[1])) != neg {
			return
		}
	}
	ts.Check(err)
	ts.Fatalf("condition %s of %s never became %q:\n%s", args[1], args[0], args[2], conditionTexts(app))
}

// conditionText returns a condition in one line, "" if there is none.
func conditionText(app *unstructured.Unstructured, kind string) string {
	conditions, _, _ := unstructured.NestedSlice(app.Object, "status", "conditions")
	for _, c := range conditions {
		if m, ok := c.(map[string]any); ok && m["type"] == kind && m["observedGeneration"] == app.GetGeneration() {
			return fmt.Sprintf("%v %v %v", m["status"], m["reason"], m["message"])
		}
	}
	return ""
}

func conditionTexts(app *unstructured.Unstructured) string {
	var b strings.Builder
	conditions, _, _ := unstructured.NestedSlice(app.Object, "status", "conditions")
	for _, c := range conditions {
		if m, ok := c.(map[string]any); ok {
			fmt.Fprintf(&b, "%v: %v %v %v\n", m["type"], m["status"], m["reason"], m["message"])
		}
	}
	return b.String()
}

// exits runs a command and compares its exit code. What it wrote can be
// looked at with stdout and stderr.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: exits CODE CMD ARG...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	switch err := ts.Exec(args[1], args[2:]...); {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("%s: exit code %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

// save makes the files of the clone those below repo/, without a commit.
func save(ts *testscript.TestScript, _ bool, _ []string) {
	s := of(ts)
	s.repo.Git(s.t, "rm", "-rqf", "--ignore-unmatch", ".")
	root := ts.MkAbs("repo")
	ts.Check(filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, _ := filepath.Rel(root, path)
		to := filepath.Join(s.repo.Dir, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if d.Type()&os.ModeSymlink != 0 {
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(target, to)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, []byte(s.fill(string(content))), 0o644)
	}))
}

// gitCommand runs a Git command in the clone. COMMIT becomes its HEAD.
func gitCommand(ts *testscript.TestScript, _ bool, args []string) {
	s := of(ts)
	ts.Logf("%s", s.repo.Git(s.t, args...))
	ts.Setenv("COMMIT", s.repo.Git(s.t, "rev-parse", "HEAD"))
}

// event waits until an Event of a reason says what the regular expression
// asks for, about an object of the namespace.
func event(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: event REASON RE")
	}
	re, err := regexp.Compile("(?s:" + args[1] + ")")
	ts.Check(err)
	s := of(ts)
	client, err := dynamic.NewForConfig(s.lab.Config)
	ts.Check(err)
	resource := client.Resource(schema.GroupVersionResource{Group: "events.k8s.io", Version: "v1", Resource: "events"}).Namespace(s.ns)
	var seen []string
	for deadline := time.Now().Add(*patience); time.Now().Before(deadline); time.Sleep(pause) {
		list, err := resource.List(s.t.Context(), metav1.ListOptions{})
		ts.Check(err)
		seen = seen[:0]
		for _, e := range list.Items {
			note, _, _ := unstructured.NestedString(e.Object, "note")
			if e.Object["reason"] == args[0] {
				seen = append(seen, note)
			}
		}
		if slices.ContainsFunc(seen, re.MatchString) {
			return
		}
	}
	ts.Fatalf("no event %s says %q; there are:\n%s", args[0], args[1], strings.Join(seen, "\n"))
}
