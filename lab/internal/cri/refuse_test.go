package cri_test

import (
	"strings"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestPodsThatAreRefused(t *testing.T) {
	ns := func(f func(*runtimeapi.NamespaceOption)) func(*runtimeapi.PodSandboxConfig) {
		return func(c *runtimeapi.PodSandboxConfig) { f(c.Linux.SecurityContext.NamespaceOptions) }
	}
	local := &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Localhost, LocalhostRef: "x"}
	for field, change := range map[string]func(*runtimeapi.PodSandboxConfig){
		"privileged":            func(c *runtimeapi.PodSandboxConfig) { c.Linux.SecurityContext.Privileged = true },
		"hostPID":               ns(func(n *runtimeapi.NamespaceOption) { n.Pid = runtimeapi.NamespaceMode_NODE }),
		"shareProcessNamespace": ns(func(n *runtimeapi.NamespaceOption) { n.Pid = runtimeapi.NamespaceMode_POD }),
		"hostIPC":               ns(func(n *runtimeapi.NamespaceOption) { n.Ipc = runtimeapi.NamespaceMode_NODE }),
		"hostUsers":             ns(func(n *runtimeapi.NamespaceOption) { n.UsernsOptions = &runtimeapi.UserNamespace{} }),
		"hostPort 80": func(c *runtimeapi.PodSandboxConfig) {
			c.PortMappings = []*runtimeapi.PortMapping{{ContainerPort: 80, HostPort: 80}}
		},
		"sysctls: kernel.shmmax":  func(c *runtimeapi.PodSandboxConfig) { c.Linux.Sysctls = map[string]string{"kernel.shmmax": "1"} },
		"sysctls: kernel/shmmax":  func(c *runtimeapi.PodSandboxConfig) { c.Linux.Sysctls = map[string]string{"kernel/shmmax": "1"} },
		"sysctls: net/../vm/swap": func(c *runtimeapi.PodSandboxConfig) { c.Linux.Sysctls = map[string]string{"net/../vm/swap": "1"} },
		"sysctls: net.none":       func(c *runtimeapi.PodSandboxConfig) { c.Linux.Sysctls = map[string]string{"net.none": "1"} },
		"seLinuxOptions": func(c *runtimeapi.PodSandboxConfig) {
			c.Linux.SecurityContext.SelinuxOptions = &runtimeapi.SELinuxOption{Level: "s0"}
		},
		"seccompProfile: Localhost": func(c *runtimeapi.PodSandboxConfig) { c.Linux.SecurityContext.Seccomp = local },
		"windows":                   func(c *runtimeapi.PodSandboxConfig) { c.Windows = &runtimeapi.WindowsPodSandboxConfig{} },
	} {
		c := podConfig(t)
		change(c)
		_, err := shared.RunPodSandbox(t.Context(), &runtimeapi.RunPodSandboxRequest{Config: c})
		if !strings.Contains(message(err), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	_, err := shared.RunPodSandbox(t.Context(), &runtimeapi.RunPodSandboxRequest{Config: podConfig(t), RuntimeHandler: "gvisor"})
	if !strings.Contains(message(err), "runtimeClassName") {
		t.Errorf("runtime class: %v", err)
	}
	runPod(t, shared, func(c *runtimeapi.PodSandboxConfig) {
		c.PortMappings = []*runtimeapi.PortMapping{{ContainerPort: 80}}
		c.Linux.SecurityContext.NamespaceOptions.UsernsOptions = &runtimeapi.UserNamespace{Mode: runtimeapi.NamespaceMode_NODE}
		c.Linux.SecurityContext.Seccomp = &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault}
	})
}

func TestContainersThatAreRefused(t *testing.T) {
	p := runPod(t, shared)
	local := &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Localhost}
	sc := func(f func(*runtimeapi.LinuxContainerSecurityContext)) change { return security(f) }
	mount := func(m *runtimeapi.Mount) change {
		return func(c *runtimeapi.ContainerConfig) { c.Mounts = append(c.Mounts, m) }
	}
	for field, change := range map[string]change{
		"privileged":                 sc(func(s *runtimeapi.LinuxContainerSecurityContext) { s.Privileged = true }),
		"tty":                        func(c *runtimeapi.ContainerConfig) { c.Tty = true },
		"stdin":                      func(c *runtimeapi.ContainerConfig) { c.Stdin = true },
		"devices":                    func(c *runtimeapi.ContainerConfig) { c.Devices = []*runtimeapi.Device{{HostPath: "/dev/fuse"}} },
		"resources.claims":           func(c *runtimeapi.ContainerConfig) { c.CDIDevices = []*runtimeapi.CDIDevice{{Name: "x"}} },
		"seccompProfile: Localhost":  sc(func(s *runtimeapi.LinuxContainerSecurityContext) { s.Seccomp = local }),
		"appArmorProfile: Localhost": sc(func(s *runtimeapi.LinuxContainerSecurityContext) { s.Apparmor = local }),
		"seLinuxOptions": sc(func(s *runtimeapi.LinuxContainerSecurityContext) {
			s.SelinuxOptions = &runtimeapi.SELinuxOption{Type: "x"}
		}),
		"capabilities.add: SYS_ADMIN": sc(func(s *runtimeapi.LinuxContainerSecurityContext) {
			s.Capabilities = &runtimeapi.Capability{AddCapabilities: []string{"SYS_ADMIN"}}
		}),
		"capabilities: TYPO": sc(func(s *runtimeapi.LinuxContainerSecurityContext) {
			s.Capabilities = &runtimeapi.Capability{AddCapabilities: []string{"TYPO"}}
		}),
		"targetContainerName": sc(func(s *runtimeapi.LinuxContainerSecurityContext) {
			s.NamespaceOptions = &runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_TARGET, TargetId: "x"}
		}),
		"mountPropagation of /x": mount(&runtimeapi.Mount{HostPath: "/tmp", ContainerPath: "/x", Propagation: runtimeapi.MountPropagation_PROPAGATION_BIDIRECTIONAL}),
		"image at /x":            mount(&runtimeapi.Mount{ContainerPath: "/x", Image: &runtimeapi.ImageSpec{Image: "x"}}),
	} {
		c := containerConfig("refused", "-c", "true")
		change(c)
		_, err := shared.CreateContainer(t.Context(), &runtimeapi.CreateContainerRequest{PodSandboxId: p.id, Config: c, SandboxConfig: p.config})
		if !strings.Contains(message(err), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	// What most pods have is not refused.
	p.output("accepted", "true", sc(func(s *runtimeapi.LinuxContainerSecurityContext) {
		s.Seccomp = &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault}
		s.Apparmor = &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Unconfined}
		s.NamespaceOptions = &runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_CONTAINER}
	}), func(c *runtimeapi.ContainerConfig) {
		c.Linux.Resources = &runtimeapi.LinuxContainerResources{CpuQuota: 1}
	})
}

func TestImages(t *testing.T) {
	pull := func(name string) (*runtimeapi.PullImageResponse, error) {
		return shared.images.PullImage(t.Context(), &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: name}})
	}
	there := func(name string) *runtimeapi.Image {
		t.Helper()
		return must[*runtimeapi.ImageStatusResponse](t)(shared.images.ImageStatus(t.Context(),
			&runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: name}})).Image
	}
	if r := must[*runtimeapi.PullImageResponse](t)(pull("docker.io/lab/sh:v1")); r.ImageRef != "lab/sh:v1" {
		t.Errorf("pulled %v", r)
	}
	if i := there("test/user:v1"); i.GetUid().GetValue() != 1234 {
		t.Errorf("image: %v", i)
	}
	for name, says := range map[string]string{
		"lab/pilot:v1": "/tmp/bin/pilot-discovery, which is missing", "test/gone:v1": "run `make gone`",
		"nginx:latest": "add it to /tmp/images.yaml, or use one of: lab/jaeger:v1",
	} {
		if _, err := pull(name); !strings.Contains(message(err), says) {
			t.Errorf("%s: %v", name, err)
		}
		if i := there(name); i != nil {
			t.Errorf("%s is there: %v", name, i)
		}
	}
	list := must[*runtimeapi.ListImagesResponse](t)(shared.images.ListImages(t.Context(), &runtimeapi.ListImagesRequest{}))
	for _, i := range list.Images {
		if i.Size == 0 || i.Id == "test/gone:v1" {
			t.Errorf("listed: %v", i)
		}
	}
	fs := must[*runtimeapi.ImageFsInfoResponse](t)(shared.images.ImageFsInfo(t.Context(), &runtimeapi.ImageFsInfoRequest{}))
	if len(fs.ImageFilesystems) != 1 || fs.ImageFilesystems[0].FsId.Mountpoint != shared.dir || fs.ImageFilesystems[0].UsedBytes.Value == 0 {
		t.Errorf("file systems: %v", fs)
	}
}
