package node

import (
	"fmt"
	"os"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	componentbase "k8s.io/component-base/config/v1alpha1"
	kubeproxy "k8s.io/kube-proxy/config/v1alpha1"
	kubelet "k8s.io/kubelet/config/v1beta1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"mizzen.dev/mizzen/lab/internal/cluster"
)

// NodeLabel is on the node whose pods run, so that pods can select it.
const NodeLabel = "mizzen.dev/node=live"

const (
	kubeletConfigFile = "kubelet.yaml"
	proxyConfigFile   = "kube-proxy.yaml"
)

// writeConfigs writes the configuration of kubelet and kube-proxy.
func (n *node) writeConfigs() error {
	for name, config := range map[string]any{kubeletConfigFile: n.kubeletConfig(), proxyConfigFile: n.proxyConfig()} {
		data, err := yaml.Marshal(config)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := os.WriteFile(configFile(name), data, 0o600); err != nil {
			return fmt.Errorf("configuration: %w", err)
		}
	}
	return nil
}

func (n *node) kubeletConfig() *kubelet.KubeletConfiguration {
	address := Address(n.Pods).String()
	c := &kubelet.KubeletConfiguration{
		TypeMeta:                 metav1.TypeMeta{APIVersion: kubelet.SchemeGroupVersion.String(), Kind: "KubeletConfiguration"},
		ContainerRuntimeEndpoint: "unix://" + criSocket,
		Address:                  address,
		TLSCertFile:              configFile(cluster.KubeletCertFile),
		TLSPrivateKeyFile:        configFile(cluster.KubeletKeyFile),
		ClusterDNS:               []string{address},
		ClusterDomain:            cluster.Domain,
		ResolverConfig:           ptr.To(""),
		MaxPods:                  500,

		// What is above its limit in a volume is found that soon.
		VolumeStatsAggPeriod: metav1.Duration{Duration: 10 * time.Second},

		// A node of a person or a test: soon is better than sparing.
		SyncFrequency:               metav1.Duration{Duration: 5 * time.Second},
		NodeStatusUpdateFrequency:   metav1.Duration{Duration: 5 * time.Second},
		NodeStatusReportFrequency:   metav1.Duration{Duration: 30 * time.Second},
		SerializeImagePulls:         ptr.To(false),
		KubeAPIQPS:                  ptr.To[int32](500),
		KubeAPIBurst:                1000,
		ContainerLogMonitorInterval: &metav1.Duration{Duration: 3 * time.Second},
		EventRecordQPS:              ptr.To[int32](0),

		// There are no cgroups, and nothing to make room for.
		CgroupsPerQOS:                ptr.To(false),
		EnforceNodeAllocatable:       []string{"none"},
		CgroupDriver:                 "cgroupfs",
		FailCgroupV1:                 ptr.To(false),
		FailSwapOn:                   ptr.To(false),
		MakeIPTablesUtilChains:       ptr.To(false),
		ImageGCHighThresholdPercent:  ptr.To[int32](100),
		ImageGCLowThresholdPercent:   ptr.To[int32](99),
		MergeDefaultEvictionSettings: ptr.To(false),
		EnableSystemLogHandler:       ptr.To(false),
		// Nobody can make a directory there: what a pod put into it, the kubelet
		// would run.
		VolumePluginDir:              "/proc/none",
		EnableControllerAttachDetach: ptr.To(false),
	}
	c.EvictionHard = map[string]string{}
	for _, signal := range []string{"memory.available", "nodefs.available", "nodefs.inodesFree", "imagefs.available"} {
		c.EvictionHard[signal] = "0%"
	}
	c.Authentication.Anonymous.Enabled = ptr.To(false)
	c.Authentication.Webhook.Enabled = ptr.To(true)
	c.Authentication.X509.ClientCAFile = configFile(cluster.AuthorityFile)
	c.Authorization.Mode = kubelet.KubeletAuthorizationModeWebhook
	if n.UserNamespace {
		c.FeatureGates = map[string]bool{"KubeletInUserNamespace": true}
	}
	return c
}

func (n *node) proxyConfig() *kubeproxy.KubeProxyConfiguration {
	return &kubeproxy.KubeProxyConfiguration{
		TypeMeta:           metav1.TypeMeta{APIVersion: kubeproxy.SchemeGroupVersion.String(), Kind: "KubeProxyConfiguration"},
		Mode:               "nftables",
		ClusterCIDR:        n.Pods.String(),
		ClientConnection:   componentbase.ClientConnectionConfiguration{Kubeconfig: configFile(cluster.ProxyFile)},
		HostnameOverride:   n.Node,
		MetricsBindAddress: "127.0.0.1:10349",
		HealthzBindAddress: "127.0.0.1:10356",
		// The table of connections belongs to the whole kernel.
		Conntrack: kubeproxy.KubeProxyConntrackConfiguration{MaxPerCore: ptr.To[int32](0), Min: ptr.To[int32](0)},
		NFTables:  kubeproxy.KubeProxyNFTablesConfiguration{MinSyncPeriod: metav1.Duration{Duration: 100 * time.Millisecond}},
	}
}
