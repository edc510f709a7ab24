// Package certs is a certificate authority for one trust domain, and a signer
// of JSON web tokens: the identities that requests of the oracle carry.
package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
)

// lifetime is how long certificates and tokens live: longer than any test.
const lifetime = 24 * time.Hour

// CA issues certificates.
type CA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

// New returns an authority with a key of its own. Its errors are those of the
// system's source of random numbers.
func New(name string) (*CA, error) {
	der, key, err := sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}, nil)
	if err != nil {
		return nil, fmt.Errorf("certificate authority %s: %w", name, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("certificate authority %s: %w", name, err)
	}
	return &CA{cert: cert, key: key, pem: block("CERTIFICATE", der)}, nil
}

// sign makes a certificate of template, signed by ca or, without one, by itself.
func sign(template *x509.Certificate, ca *CA) ([]byte, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62)); err != nil {
		return nil, nil, err
	}
	now := time.Now()
	template.NotBefore, template.NotAfter = now.Add(-time.Hour), now.Add(lifetime)
	parent, signer := template, key
	if ca != nil {
		parent, signer = ca.cert, ca.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	return der, key, err
}

// Workload returns the certificate of a SPIFFE ID without its scheme, such as
// "cluster.local/ns/shop/sa/web".
func (ca *CA) Workload(identity string) (tls.Certificate, error) {
	id, err := url.Parse("spiffe://" + identity)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("identity %s: %w", identity, err)
	}
	return pair(&x509.Certificate{URIs: []*url.URL{id}}, ca)
}

// Server returns the certificate of a host.
func (ca *CA) Server(host string) (tls.Certificate, error) {
	return pair(&x509.Certificate{Subject: pkix.Name{CommonName: host}, DNSNames: []string{host}}, ca)
}

func pair(template *x509.Certificate, ca *CA) (tls.Certificate, error) {
	template.KeyUsage = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	der, key, err := sign(template, ca)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("issue certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// Secret returns a certificate and its key as SDS serves them.
func Secret(name string, c tls.Certificate) (*tlsv3.Secret, error) {
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		return nil, fmt.Errorf("secret %s: %w", name, err)
	}
	var chain []byte
	for _, der := range c.Certificate {
		chain = append(chain, block("CERTIFICATE", der)...)
	}
	return &tlsv3.Secret{Name: name, Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{
		CertificateChain: inline(chain), PrivateKey: inline(block("PRIVATE KEY", key)),
	}}}, nil
}

// Bundle returns the authority's own certificate as SDS serves what to trust.
func (ca *CA) Bundle(name string) *tlsv3.Secret {
	return &tlsv3.Secret{Name: name, Type: &tlsv3.Secret_ValidationContext{
		ValidationContext: &tlsv3.CertificateValidationContext{TrustedCa: inline(ca.pem)},
	}}
}

func inline(b []byte) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: b}}
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
