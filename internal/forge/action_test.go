package forge

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

const root = "../../"

// action is what matters of a composite action.
type action struct {
	Inputs map[string]struct{ Default string }
	Runs   struct {
		Using string
		Steps []struct {
			Uses, Run, Shell string
			Env              map[string]string
		}
	}
}

// No expression is pasted into a script, and what the action uses is pinned.
func TestActionIsSafe(t *testing.T) {
	content, err := os.ReadFile(root + "action.yml")
	if err != nil {
		t.Fatal(err)
	}
	var a action
	if err := yaml.Unmarshal(content, &a); err != nil {
		t.Fatal(err)
	}
	if a.Runs.Using != "composite" || len(a.Runs.Steps) == 0 {
		t.Fatalf("%+v", a)
	}
	pinned := regexp.MustCompile(`^[\w-]+/[\w-]+@[0-9a-f]{40}$`)
	for _, s := range a.Runs.Steps {
		if strings.Contains(s.Run, "${{") {
			t.Errorf("an expression in a script: %s", s.Run)
		}
		if s.Uses != "" && !pinned.MatchString(s.Uses) {
			t.Errorf("not pinned: %s", s.Uses)
		}
	}
	for _, name := range []string{"base", "fail-on", "comment"} {
		if _, ok := a.Inputs[name]; !ok {
			t.Errorf("there is no input %s", name)
		}
	}
}

// The scripts of the template use variables and checked inputs only.
func TestTemplateIsSafe(t *testing.T) {
	content, err := os.ReadFile(root + "ci-templates/gitlab.yml")
	if err != nil {
		t.Fatal(err)
	}
	dec := yaml.NewDecoder(strings.NewReader(string(content)))
	var header, body map[string]any
	if err := dec.Decode(&header); err != nil {
		t.Fatal(err)
	}
	if err := dec.Decode(&body); err != nil {
		t.Fatal(err)
	}
	job, _ := body["mizzen-plan"].(map[string]any)
	script, _ := job["script"].([]any)
	if header["spec"] == nil || len(script) == 0 {
		t.Fatalf("%v %v", header, body)
	}
	for _, line := range script {
		if text, _ := line.(string); text == "" || strings.Contains(text, "$[[") {
			t.Errorf("script: %v", line)
		}
	}
}

func TestPlanScript(t *testing.T) {
	dir := t.TempDir()
	fake := filepath.Join(dir, "mizzen")
	if err := os.WriteFile(fake, []byte("#!/bin/sh\nprintf '[%s]' \"$@\" >>\""+dir+"/calls\"\necho >>\""+dir+"/calls\"\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	hostile := `x"; touch ` + dir + `/pwned; $(touch ` + dir + "/pwned) `touch " + dir + "/pwned`"
	for _, c := range []struct {
		name  string
		env   []string
		code  int
		calls string
	}{
		{"no base", nil, 2, ""},
		{"an option as base", []string{"INPUT_BASE=--head"}, 2, ""},
		{
			"pull request",
			[]string{"PULL_BASE=abc", "INPUT_FAIL_ON=approval", "INPUT_COMMENT=true", "PULL_HEAD_REPOSITORY=acme/shop"},
			1,
			"[plan][--base][abc][--fail-on][none][-o][markdown]\n[plan][--base][abc][--fail-on][approval][--comment][-o][github]\n",
		},
		{
			"of a fork",
			[]string{"PULL_BASE=abc", "INPUT_COMMENT=true", "PULL_HEAD_REPOSITORY=mallory/shop"},
			1,
			"[plan][--base][abc][--fail-on][none][-o][markdown]\n[plan][--base][abc][--fail-on][deny][-o][github]\n",
		},
		{
			"a hostile branch",
			[]string{"INPUT_BASE=" + hostile, "PULL_BASE=abc"},
			1,
			"[plan][--base][" + hostile + "][--fail-on][none][-o][markdown]\n[plan][--base][" + hostile + "][--fail-on][deny][-o][github]\n",
		},
	} {
		_ = os.Remove(dir + "/calls")
		cmd := exec.Command("sh", root+"ci-templates/plan.sh")
		cmd.Env = append(c.env, "PATH="+os.Getenv("PATH"), "MIZZEN="+fake, "GITHUB_REPOSITORY=acme/shop", "GITHUB_STEP_SUMMARY="+dir+"/summary", "RUNNER_TEMP="+dir)
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != c.code {
			t.Errorf("%s: exit code %d: %s", c.name, code, out)
		}
		calls, _ := os.ReadFile(dir + "/calls")
		if diff := cmp.Diff(c.calls, string(calls)); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
	if _, err := os.Stat(dir + "/pwned"); err == nil {
		t.Error("a branch's name was executed")
	}
}
