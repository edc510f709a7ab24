package cri

import (
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// rule is one thing that the runtime cannot do.
type rule struct {
	asked bool
	// field is the pod's, as its author knows it; why says what to do as well.
	field, why string
}

// refuse returns the error of the first rule that applies.
func refuse(rules []rule) error {
	for _, r := range rules {
		if r.asked {
			return status.Errorf(codes.InvalidArgument, "%s: not supported by the lab's container runtime: %s", r.field, r.why)
		}
	}
	return nil
}

const (
	removeIt    = "; remove the field"
	noHostPort  = "the node has no way in but the lab's relays; use a Service, or the pod's address"
	noProfiles  = "the node loads no security profiles; use RuntimeDefault or Unconfined"
	noTerminals = "there are no terminals; use `kubectl exec` without -t"
)

// refusePod refuses what a pod asks for and the runtime has not.
func refusePod(r *runtimeapi.RunPodSandboxRequest) error {
	linux := r.Config.GetLinux()
	security := linux.GetSecurityContext()
	ns := security.GetNamespaceOptions()
	users := ns.GetUsernsOptions()
	rules := []rule{
		{r.RuntimeHandler != "", "runtimeClassName", fmt.Sprintf("there is no handler %q%s", r.RuntimeHandler, removeIt)},
		{r.Config.GetWindows() != nil, "os.name: windows", "the node runs Linux"},
		{security.GetPrivileged(), "securityContext.privileged", noPrivilege},
		{ns.GetPid() == runtimeapi.NamespaceMode_NODE, "hostPID", "pods do not see the node's processes" + removeIt},
		{ns.GetPid() == runtimeapi.NamespaceMode_POD, "shareProcessNamespace", "each container is process 1 of its own namespace" + removeIt},
		{ns.GetIpc() == runtimeapi.NamespaceMode_NODE, "hostIPC", "pods do not share memory with the node" + removeIt},
		{users != nil && users.Mode == runtimeapi.NamespaceMode_POD, "hostUsers: false", "the node may be in a user namespace itself; leave hostUsers out"},
		{selinux(security.GetSelinuxOptions()), "securityContext.seLinuxOptions", "the node has no SELinux" + removeIt},
		{localhost(security.GetSeccomp(), security.GetSeccompProfilePath()), "securityContext.seccompProfile: Localhost", noProfiles}, //nolint:staticcheck // The kubelet may set the old field.
		{localhost(security.GetApparmor(), ""), "securityContext.appArmorProfile: Localhost", noProfiles},
	}
	for _, p := range r.Config.GetPortMappings() {
		rules = append(rules, rule{p.HostPort != 0 && !hostNetwork(r.Config), fmt.Sprintf("ports: hostPort %d", p.HostPort), noHostPort})
	}
	for name := range linux.GetSysctls() {
		rules = append(rules,
			rule{!strings.HasPrefix(sysctlFile(name), "net/"), "securityContext.sysctls: " + name, "only those of the network (net.) belong to a pod" + removeIt},
			rule{hostNetwork(r.Config), "securityContext.sysctls: " + name, "with hostNetwork it would change the node" + removeIt})
	}
	return refuse(rules)
}

const noPrivilege = "the node is the user's machine, and nothing confines a pod there; add single capabilities instead"

// refuseContainer refuses what a container asks for and the runtime has not.
func refuseContainer(c *runtimeapi.ContainerConfig) error {
	security := c.GetLinux().GetSecurityContext()
	ns := security.GetNamespaceOptions()
	rules := []rule{
		{security.GetPrivileged(), "securityContext.privileged", noPrivilege},
		{c.GetTty(), "tty", noTerminals},
		{c.GetStdin(), "stdin", "a container has no input; use `kubectl exec -i`"},
		{ns.GetPid() == runtimeapi.NamespaceMode_TARGET, "targetContainerName", "a container sees its own processes only; debug without --target"},
		{ns.GetPid() == runtimeapi.NamespaceMode_NODE, "hostPID", "pods do not see the node's processes" + removeIt},
		{len(c.GetDevices()) > 0, "devices", "the node has none to give" + removeIt},
		{len(c.GetCDIDevices()) > 0, "resources.claims", "the node has no devices to give" + removeIt},
		{c.GetWindows() != nil, "securityContext.windowsOptions", "the node runs Linux"},
		{selinux(security.GetSelinuxOptions()), "securityContext.seLinuxOptions", "the node has no SELinux" + removeIt},
		{localhost(security.GetSeccomp(), security.GetSeccompProfilePath()), "securityContext.seccompProfile: Localhost", noProfiles}, //nolint:staticcheck // The kubelet may set the old field.
		{localhost(security.GetApparmor(), security.GetApparmorProfile()), "securityContext.appArmorProfile: Localhost", noProfiles},  //nolint:staticcheck // The kubelet may set the old field.
		{security.GetRunAsUsername() != "", "image user " + security.GetRunAsUsername(), "users have numbers in the lab; set runAsUser"},
	}
	for _, m := range c.GetMounts() {
		rules = append(rules,
			rule{m.GetImage().GetImage() != "", "volumes: image at " + m.ContainerPath, "an image is no file system here; use another kind of volume"},
			rule{
				m.Propagation != runtimeapi.MountPropagation_PROPAGATION_PRIVATE, "volumeMounts: mountPropagation of " + m.ContainerPath,
				"mounts made later do not pass between node and container; leave it out",
			},
			rule{len(m.UidMappings)+len(m.GidMappings) > 0, "hostUsers: false", "volumes are not mapped to other ids; leave hostUsers out"})
	}
	return refuse(rules)
}

// refuseVolumes refuses files of the node that lead out of a pod, whatever a
// mount says that protects them.
func (s *Server) refuseVolumes(mounts []*runtimeapi.Mount) error {
	var rules []rule
	for _, m := range mounts {
		field, path := "volumes: hostPath "+m.HostPath, filepath.Clean(m.HostPath)
		if real, err := filepath.EvalSymlinks(path); err == nil {
			path = real
		}
		rules = append(rules, rule{s.hide != "" && (path == s.hide || strings.HasPrefix(path, s.hide+"/")), field, "the lab keeps its own directory from pods; use another"})
		var st unix.Stat_t
		var fs unix.Statfs_t
		if unix.Stat(path, &st) != nil || unix.Statfs(path, &fs) != nil {
			continue // it is not there, which is somebody else's matter
		}
		kind := st.Mode & unix.S_IFMT
		rules = append(rules,
			rule{kind == unix.S_IFSOCK || kind == unix.S_IFIFO, field, "who listens there is not in the lab; use a Service"},
			rule{kind == unix.S_IFBLK || kind == unix.S_IFCHR, field, "the node has no devices to give" + removeIt},
			rule{fs.Type == unix.PROC_SUPER_MAGIC, field, "pods do not see the node's processes" + removeIt})
	}
	return refuse(rules)
}

func selinux(o *runtimeapi.SELinuxOption) bool {
	return o.GetUser()+o.GetRole()+o.GetType()+o.GetLevel() != ""
}

func localhost(p *runtimeapi.SecurityProfile, old string) bool {
	return p.GetProfileType() == runtimeapi.SecurityProfile_Localhost || strings.HasPrefix(old, "localhost/")
}
