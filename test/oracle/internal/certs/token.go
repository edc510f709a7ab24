package certs

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"time"
)

// Signer signs JSON web tokens with RS256.
type Signer struct{ key *rsa.PrivateKey }

// NewSigner returns a signer with a key of its own.
func NewSigner() (*Signer, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("token key: %w", err)
	}
	return &Signer{key: key}, nil
}

// JWKS returns the public key as a JSON web key set.
func (s *Signer) JWKS() string {
	return fmt.Sprintf(`{"keys":[{"kty":"RSA","kid":"k","alg":"RS256","use":"sig","n":%q,"e":%q}]}`,
		encode(s.key.N.Bytes()), encode(big.NewInt(int64(s.key.E)).Bytes()))
}

// Token signs claims; "exp" is set so that the token outlives any test, or has
// ended an hour ago.
func (s *Signer) Token(claims map[string]any, expired bool) (string, error) {
	all := map[string]any{"exp": time.Now().Add(lifetime).Unix()}
	if expired {
		all["exp"] = time.Now().Add(-time.Hour).Unix()
	}
	for name, value := range claims {
		all[name] = value
	}
	payload, err := json.Marshal(all)
	if err != nil {
		return "", fmt.Errorf("token claims: %w", err)
	}
	text := encode([]byte(`{"alg":"RS256","kid":"k","typ":"JWT"}`)) + "." + encode(payload)
	digest := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, s.key, crypto.SHA256, digest[:])
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	return text + "." + encode(signature), nil
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
