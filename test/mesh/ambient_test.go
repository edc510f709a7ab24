package mesh

import (
	"context"
	"strings"
	"testing"

	"mizzen.dev/mizzen/internal/labtest"
)

// TestWaypoint follows examples/waypoint of the demo: a commit turns it on,
// another one off. The control plane restarts twice.
func TestWaypoint(t *testing.T) {
	m := newTeam(t)
	repo := m.clone()
	repo.edit("apps/values.yaml", "ambient: false", "ambient: true")
	repo.push("Try a waypoint")
	m.settled("waypoint", true)

	m.answered(`"app":"api"`, "from api")
	m.answered("x-waypoint: yes", "from the waypoint")
	m.becomes("403", "stranger-v1", shop+"secret", "-H", "Host: ambient.lab")
	m.equalWaypoints()
	// Everybody else's traffic is as it was.
	if a := m.becomes("200", "stranger-v1", shop); a.App != "web" {
		t.Errorf("/ is answered by %s, want web", a.App)
	}

	repo.revert(1)
	m.settled("waypoint", false)
	// The gateway hears of the route's end after the Applications are Ready.
	labtest.Eventually(t, "web to answer for the waypoint's host", func(context.Context) bool {
		return m.becomes("200", "stranger-v1", shop, "-H", "Host: ambient.lab").App == "web"
	})
}

// answered waits until the answer for the host of the example, with its header,
// has something in it.
func (m *team) answered(with, what string) {
	m.Helper()
	var last string
	defer func() {
		if m.Failed() {
			m.Logf("the last answer: %s", last)
		}
	}()
	labtest.Eventually(m.T, "an answer "+what, func(context.Context) bool {
		_, last = m.get("stranger-v1", shop, "-i", "-H", "Host: ambient.lab")
		return strings.Contains(strings.ToLower(last), with)
	})
}

// settled waits until the demo has an Application or not, all of its
// Applications are Ready, and there is one istiod that is as Git says.
func (m *team) settled(application string, there bool) {
	m.Helper()
	labtest.Eventually(m.T, "Git's istiod to be rolled out", func(context.Context) bool {
		env, err := m.try("get", "deployment", "-n", "istio-system", "istiod", "-o", "jsonpath={.spec.template.spec.containers[0].env[*].name}")
		return err == nil && strings.Contains(env, "PILOT_ENABLE_AMBIENT") == there
	})
	m.kubectl("rollout", "status", "-n", "istio-system", "deployment/istiod", "--timeout=2m")
	m.applications(application, there)
}

// applications waits until the demo has an Application or not, and all of its
// Applications are Ready.
func (m *team) applications(application string, there bool) {
	m.Helper()
	labtest.Eventually(m.T, "all Applications to be Ready", func(context.Context) bool {
		out, err := m.try("get", "applications", "-n", "mizzen-system", "-o",
			`jsonpath={range .items[*]}{.metadata.name}={.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}`)
		lines := strings.Fields(out)
		for _, line := range lines {
			if !strings.HasSuffix(line, "=True") {
				return false
			}
		}
		return err == nil && strings.Contains(out, application+"=") == there && len(lines) > 0
	})
}
