package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"mizzen.dev/mizzen/lab/internal/pki"
)

// Live is the node of a cluster whose pods run.
type Live struct {
	// Node is its name, Address where it is.
	Node    string
	Address netip.Addr
	// Services is the range of their addresses.
	Services netip.Prefix
	// Boot is what the kubelet of this start reports as the id of its boot.
	Boot string
}

// Domain is that of the names of Services.
const Domain = "cluster.local"

// The files of a live cluster's directory, for the components of its node.
const (
	KubeletFile     = "kubelet.kubeconfig"
	ProxyFile       = "kube-proxy.kubeconfig"
	DNSFile         = "coredns.kubeconfig"
	KubeletCertFile = pkiDir + "/kubelet.crt"
	KubeletKeyFile  = pkiDir + "/kubelet.key"
	AuthorityFile   = pkiDir + "/" + pki.AuthorityFile
)

const (
	kubeletClientCertFile = "apiserver-kubelet-client.crt"
	kubeletClientKeyFile  = "apiserver-kubelet-client.key"
)

// The users of a live cluster that Kubernetes does not know by itself.
const (
	apiserverUser = "lab:apiserver"
	dnsUser       = "lab:coredns"
)

// services is the range of the addresses of Services.
func (o Options) services() netip.Prefix {
	if o.Live != nil {
		return o.Live.Services
	}
	return netip.MustParsePrefix("10.96.0.0/16")
}

// addresses are where the API server is, besides 127.0.0.1: that of the
// Service "kubernetes" is the first of its range.
func (o Options) addresses() []net.IP {
	addresses := []net.IP{o.services().Masked().Addr().Next().AsSlice()}
	if o.Live != nil {
		addresses = append(addresses, o.Live.Address.AsSlice())
	}
	return addresses
}

// fakePods is the range of the addresses of pods that do not run. Beside pods
// that do, nobody has them (RFC 2544 keeps them for measurements).
func (o Options) fakePods() string {
	if o.Live != nil {
		return "198.18.0.0/16"
	}
	return "10.244.0.0/16"
}

// liveFlags are those of an API server that pods and a kubelet talk to.
func liveFlags(l *Live) []string {
	file := func(name string) string { return filepath.Join(pkiDir, name) }
	return []string{
		"--bind-address=0.0.0.0", "--advertise-address=" + l.Address.String(),
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
		"--kubelet-preferred-address-types=InternalIP",
		"--kubelet-certificate-authority=" + file(pki.AuthorityFile),
		"--kubelet-client-certificate=" + file(kubeletClientCertFile), "--kubelet-client-key=" + file(kubeletClientKeyFile),
	}
}

// writeLiveFiles makes the identities of a node: nobody is an administrator.
func writeLiveFiles(authority *pki.Authority, o Options, server string) error {
	l := o.Live
	return errors.Join(
		authority.WriteServing(filepath.Base(KubeletCertFile), filepath.Base(KubeletKeyFile), l.Node, l.Address.AsSlice()),
		authority.WriteClient(kubeletClientCertFile, kubeletClientKeyFile, apiserverUser),
		authority.WriteKubeconfig(KubeletFile, o.Name, server, "system:node:"+l.Node, "system:nodes"),
		authority.WriteKubeconfig(ProxyFile, o.Name, server, "system:kube-proxy"),
		authority.WriteKubeconfig(DNSFile, o.Name, server, dnsUser),
	)
}

// grant lets the API server ask the kubelet, and CoreDNS the API server.
func grant(ctx context.Context, client kubernetes.Interface) error {
	roles := client.RbacV1().ClusterRoles()
	_, err := roles.Create(ctx, &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: dnsUser},
		Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"namespaces", "pods", "services"}, Verbs: []string{"list", "watch"}},
			{APIGroups: []string{"discovery.k8s.io"}, Resources: []string{"endpointslices"}, Verbs: []string{"list", "watch"}},
		},
	}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("role of %s: %w", dnsUser, err)
	}
	for user, role := range map[string]string{apiserverUser: "system:kubelet-api-admin", dnsUser: dnsUser} {
		_, err := client.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: user},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
		}, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("role of %s: %w", user, err)
		}
	}
	return nil
}

// waitLive returns when the live node is usable. What a former kubelet said of
// a node of that name does not count.
func waitLive(ctx context.Context, client kubernetes.Interface, l *Live) error {
	return wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		n, err := client.CoreV1().Nodes().Get(ctx, l.Node, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, nil
		} else if err != nil {
			return false, fmt.Errorf("live node: %w", err)
		}
		return n.Status.NodeInfo.BootID == l.Boot && usable(*n), nil
	})
}

// waitDNS returns when the node's DNS knows the API server's Service.
func waitDNS(ctx context.Context, l *Live) error {
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(l.Address.String(), "53"))
	}}
	name := "kubernetes." + corev1.NamespaceDefault + ".svc." + Domain + "."
	return wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err := resolver.LookupHost(ctx, name)
		return err == nil, nil
	})
}
