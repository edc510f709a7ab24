// Package pki makes the certificates and kubeconfigs of one cluster of the
// lab: an authority of its own, a serving certificate for 127.0.0.1, the key
// that signs service account tokens, and one client certificate per identity,
// so that the audit log tells them apart.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// The files of an authority's directory that servers are told about.
const (
	AuthorityFile         = "ca.crt"
	ServingCertFile       = "serving.crt"
	ServingKeyFile        = "serving.key"
	ServiceAccountKeyFile = "service-account.key"
)

// validity outlives any lab; a lab's directory is made anew long before.
const validity = 5 * 365 * 24 * time.Hour

// Authority issues certificates and keeps its files below Dir.
type Authority struct {
	dir  string
	cert *x509.Certificate
	pem  []byte
	key  *ecdsa.PrivateKey
}

// New creates dir with a fresh authority, a serving certificate for a
// Kubernetes API server at 127.0.0.1 and the given addresses, and a service
// account key.
func New(dir string, addresses ...net.IP) (*Authority, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("directory of certificates: %w", err)
	}
	a := &Authority{dir: dir}
	if err := a.createRoot(); err != nil {
		return nil, err
	}
	serving := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "kube-apiserver"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: append([]net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}, addresses...),
		DNSNames:    []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"},
	}
	if err := a.writePair(serving, ServingCertFile, ServingKeyFile); err != nil {
		return nil, err
	}
	_, signing, err := newKey()
	if err != nil {
		return nil, err
	}
	return a, a.write(ServiceAccountKeyFile, signing)
}

func (a *Authority) createRoot() error {
	key, _, err := newKey()
	if err != nil {
		return err
	}
	root := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "lab-authority"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(validity),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, root, root, &key.PublicKey, key)
	if err != nil {
		return fmt.Errorf("authority: %w", err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return fmt.Errorf("authority: %w", err)
	}
	a.key = key
	a.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return a.write(AuthorityFile, a.pem)
}

// issue signs the template and returns certificate and key as PEM.
func (a *Authority) issue(template *x509.Certificate) (cert, key []byte, err error) {
	private, keyPEM, err := newKey()
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, nil, fmt.Errorf("serial number: %w", err)
	}
	template.SerialNumber = serial
	template.NotBefore, template.NotAfter = a.cert.NotBefore, a.cert.NotAfter
	template.KeyUsage = x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &private.PublicKey, a.key)
	if err != nil {
		return nil, nil, fmt.Errorf("certificate of %s: %w", template.Subject.CommonName, err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), keyPEM, nil
}

// WriteServing issues a certificate with which name serves at address, and
// keeps it and its key in the named files.
func (a *Authority) WriteServing(certFile, keyFile, name string, address net.IP) error {
	return a.writePair(&x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{address},
		DNSNames:    []string{name},
	}, certFile, keyFile)
}

// WriteClient issues a certificate of user, and keeps it and its key in the
// named files.
func (a *Authority) WriteClient(certFile, keyFile, user string) error {
	return a.writePair(&x509.Certificate{
		Subject:     pkix.Name{CommonName: user},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, certFile, keyFile)
}

func (a *Authority) writePair(template *x509.Certificate, certFile, keyFile string) error {
	cert, key, err := a.issue(template)
	if err != nil {
		return err
	}
	if err := a.write(certFile, cert); err != nil {
		return err
	}
	return a.write(keyFile, key)
}

// WriteKubeconfig writes a kubeconfig to path with which user, a member of
// groups, reaches server. Everything is inline: the file may be copied into a
// Secret of another cluster as it is.
func (a *Authority) WriteKubeconfig(path, cluster, server, user string, groups ...string) error {
	cert, key, err := a.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: user, Organization: groups},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return err
	}
	c := api.NewConfig()
	c.Clusters[cluster] = &api.Cluster{Server: server, CertificateAuthorityData: a.pem}
	c.AuthInfos[user] = &api.AuthInfo{ClientCertificateData: cert, ClientKeyData: key}
	c.Contexts[cluster] = &api.Context{Cluster: cluster, AuthInfo: user}
	c.CurrentContext = cluster
	if err := clientcmd.WriteToFile(*c, path); err != nil {
		return fmt.Errorf("kubeconfig of %s: %w", user, err)
	}
	return nil
}

func newKey() (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("key: %w", err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("key: %w", err)
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

func (a *Authority) write(name string, data []byte) error {
	if err := os.WriteFile(filepath.Join(a.dir, name), data, 0o600); err != nil {
		return fmt.Errorf("certificate file: %w", err)
	}
	return nil
}
