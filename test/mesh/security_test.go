package mesh

import (
	"strings"
	"testing"
)

func TestMutualTLS(t *testing.T) {
	t.Parallel()
	m := newTeam(t)
	m.becomes("200", "stranger-v1", "http://server/") // PERMISSIVE is Istio's default
	m.apply(`
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default}
spec: {mtls: {mode: STRICT}}
`)
	m.becomes(unanswered, "stranger-v1", "http://server/")
	a := m.becomes("200", "caller-v1", "http://server/")
	if want := "URI=spiffe://cluster.local/ns/" + m.ns + "/sa/caller"; !strings.Contains(a.XFCC, want) {
		t.Errorf("the server sees the caller as %q, want %s", a.XFCC, want)
	}
}

func TestAuthorization(t *testing.T) {
	t.Parallel()
	m := newTeam(t)
	m.apply(`
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: server}
spec:
  selector: {matchLabels: {app: server}}
  action: ALLOW
  rules:
  - from: [{source: {principals: [cluster.local/ns/` + m.ns + `/sa/caller]}}]
    to: [{operation: {methods: [GET], paths: [/open*]}}]
`)
	m.becomes("403", "caller-v1", "http://server/secret")
	m.becomes("200", "caller-v1", "http://server/open")
	m.becomes("403", "caller-v1", "http://server/open", "-X", "POST")
	m.becomes("403", "stranger-v1", "http://server/open")
}
