package pods

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const things = `
---
apiVersion: v1
kind: ConfigMap
metadata: {name: config}
data: {word: one, other: two}
---
apiVersion: v1
kind: Secret
metadata: {name: secret}
stringData: {password: s3cret}
`

// TestVolumes reads every kind of volume that the node has, and what comes
// from ConfigMaps, Secrets and the pod itself as environment.
func TestVolumes(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	script := `cat /shared/init /config/word; echo; ls /config /one
cat /secret/password; echo; stat -L -c %a /secret/password
cat /file; echo
cat /all/name; echo; cat /all/labels; echo; cat /all/word; echo; test -s /all/token && echo token
stat -f -c %T /memory; touch /memory/x /shared/x && echo written
touch /config/x 2>/dev/null || echo read-only
echo $WORD $PASSWORD $NAME $word`
	y.apply(things, pod("volumes", never, `volumes: [
  {name: shared, emptyDir: {}}, {name: memory, emptyDir: {medium: Memory}},
  {name: config, configMap: {name: config}}, {name: one, configMap: {name: config, items: [{key: other, path: a/b}]}},
  {name: secret, secret: {secretName: secret, defaultMode: 0400}},
  {name: all, projected: {sources: [
    {downwardAPI: {items: [{path: name, fieldRef: {fieldPath: metadata.name}}, {path: labels, fieldRef: {fieldPath: metadata.labels}}]}},
    {configMap: {name: config}}, {serviceAccountToken: {path: token, audience: lab}}]}}]`,
		initContainers(sh("init", "echo from init > /shared/init", sees)),
		containers(sh("main", script,
			`volumeMounts: [{name: shared, mountPath: /shared}, {name: memory, mountPath: /memory}, {name: config, mountPath: /config},
  {name: one, mountPath: /one}, {name: secret, mountPath: /secret}, {name: all, mountPath: /all},
  {name: config, mountPath: /file, subPath: other}]`,
			`env: [{name: WORD, valueFrom: {configMapKeyRef: {name: config, key: word}}},
  {name: PASSWORD, valueFrom: {secretKeyRef: {name: secret, key: password}}},
  {name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]`,
			"envFrom: [{configMapRef: {name: config}}]"))))
	want := `from init
one
/config:
other
word

/one:
a
s3cret
400
two
volumes
app="volumes"
one
token
tmpfs
written
read-only
one s3cret volumes one
`
	if diff := cmp.Diff(want, y.succeeded("volumes")); diff != "" {
		t.Errorf("the pod reads (-want +got):\n%s", diff)
	}
}

func TestConfigMapsFollow(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.apply(things, pod("follows", never, "volumes: [{name: config, configMap: {name: config}}]",
		containers(sh("main", "cat /config/word; echo; until grep -q three /config/word; do sleep 0.1; done; echo changed",
			"volumeMounts: [{name: config, mountPath: /config}]"))))
	y.says("follows", "main", "one")
	y.kubectl("patch", "configmap", "config", "-p", `{"data": {"word": "three"}}`)
	y.succeeded("follows")
}

// TestHostPathsAreSafe has root write to what it can see of the machine: to a
// directory that every machine has, and that the lab does not replace by its
// own, as /tmp; and to the lab's own directory, where the cluster writes. No
// pod sees that, whichever way it asks.
func TestHostPathsAreSafe(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	const host, written = "/usr/bin", "mizzen-test-written"
	cluster := y.node().dir
	if _, err := os.Stat(y.lab.Kubeconfig); err != nil {
		t.Fatal(err)
	}
	script := "ls /host/env; for d in /host /all" + cluster + " /all/run/lab/config /all/sys/fs/cgroup; do touch $d/" + written + " 2>/dev/null; done\n" +
		"cat /all" + y.lab.Kubeconfig + " " + y.lab.Kubeconfig + " 2>/dev/null; ls -A /all/proc; echo done"
	all := "volumes: [{name: host, hostPath: {path: " + host + ", type: Directory}}, {name: all, hostPath: {path: /}}]"
	y.apply(
		pod("host", never, all, containers(sh("main", script, "volumeMounts: [{name: host, mountPath: /host}, {name: all, mountPath: /all}]",
			"securityContext: {capabilities: {add: [SYS_PTRACE]}}"))),
		pod("direct", never, "volumes: [{name: lab, hostPath: {path: "+cluster+"}}]",
			containers(sh("main", "true", "volumeMounts: [{name: lab, mountPath: /lab}]"))),
		pod("part", never, all, containers(sh("main", "true", "volumeMounts: [{name: all, mountPath: /lab, subPath: "+cluster[1:]+"}]"))))
	if diff := cmp.Diff("/host/env\ndone\n", y.succeeded("host")); diff != "" {
		t.Errorf("the pod sees (-want +got):\n%s", diff)
	}
	for _, dir := range []string{host, cluster} {
		if err := os.Remove(filepath.Join(dir, written)); err == nil {
			t.Errorf("the pod has written to %s", dir)
		}
	}
	y.event("direct", "Failed", "volumes: hostPath "+cluster+": not supported", "the lab keeps its own directory from pods")
	y.waits("part", "CreateContainerConfigError")
}

// TestTokenIsKnown asks the API server, from a pod and by its name, who the pod is.
func TestTokenIsKnown(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	script := `d=/var/run/secrets/kubernetes.io/serviceaccount
curl -sS --cacert $d/ca.crt -H "Authorization: Bearer $(cat $d/token)" -H 'Content-Type: application/json' \
  -d '{"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}' \
  https://kubernetes.default.svc/apis/authentication.k8s.io/v1/selfsubjectreviews
cat $d/namespace`
	y.apply(pod("asks", never, containers(sh("main", script))))
	log := y.succeeded("asks")
	if !strings.Contains(log, `"username": "system:serviceaccount:`+y.ns+`:default"`) || !strings.HasSuffix(log, y.ns) {
		t.Errorf("the pod is told\n%s", log)
	}
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	script := "id -u; id -g; id -G; touch /shared/f; stat -c '%u %g' /shared/f; touch /etc/x 2>/dev/null || echo no"
	y.apply(
		pod("who", never, shared,
			"securityContext: {runAsUser: 1234, runAsGroup: 2345, fsGroup: 3456, supplementalGroups: [4567]}",
			containers(sh("main", script, sees))),
		pod("root", never, containers(sh("main", "id -u; id -g"))),
		pod("image", "securityContext: {runAsNonRoot: true}", containers(shop("main"))),
		pod("refused", "securityContext: {runAsNonRoot: true}", containers(sh("main", "true"))))
	if diff := cmp.Diff("1234\n2345\n2345 3456 4567\n1234 3456\nno\n", y.succeeded("who")); diff != "" {
		t.Errorf("the container is (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff("0\n0\n", y.succeeded("root")); diff != "" {
		t.Errorf("by default the container is (-want +got):\n%s", diff)
	}
	y.ready("image")
	if got := y.kubectl("exec", "image", "--", "id", "-u"); got != "1000\n" {
		t.Errorf("the image's user is %s, want 1000", got)
	}
	y.event("refused", "Failed", "runAsNonRoot and image will run as root")
}
