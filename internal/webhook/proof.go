package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strings"
)

// proof tells whether a request was made by somebody who knows a secret. It
// takes the same time whatever the request claims.
type proof func(secret []byte) bool

// SignedBy tells whether the secret signed the message. An empty secret signs
// nothing.
func (m Message) SignedBy(secret []byte) bool {
	return len(secret) > 0 && m.proof != nil && m.proof(secret)
}

// hexMAC is the HMAC-SHA256 of the body in hexadecimal, in one of some headers:
// the first that is there counts, a good later one does not excuse a bad one.
func hexMAC(prefix string, names ...string) func(http.Header, []byte) proof {
	return func(header http.Header, body []byte) proof {
		claim := ""
		for _, name := range names {
			if claim = header.Get(name); claim != "" {
				break
			}
		}
		claim, hasPrefix := strings.CutPrefix(claim, prefix)
		claimed, err := hex.DecodeString(claim)
		return func(secret []byte) bool {
			equal := hmac.Equal(claimed, mac(secret, body))
			return equal && hasPrefix && err == nil
		}
	}
}

func mac(key []byte, parts ...[]byte) []byte {
	h := hmac.New(sha256.New, key)
	for _, part := range parts {
		h.Write(part)
	}
	return h.Sum(nil)
}

// signingKey marks a GitLab signing token; the rest is the key in base64.
const signingKey = "whsec_"

// gitLabProof checks GitLab's signature, which follows the Standard Webhooks
// specification, if the secret is a signing token, and else the secret token,
// which GitLab sends as it is. The signed time is not compared with the clock:
// a replay costs one fetch, a wrong clock would cost every push.
func gitLabProof(header http.Header, body []byte) proof {
	id, at := header.Get("Webhook-Id"), header.Get("Webhook-Timestamp")
	claims := strings.Fields(header.Get("Webhook-Signature"))
	token := []byte(header.Get("X-Gitlab-Token"))
	return func(secret []byte) bool {
		if encoded, ok := strings.CutPrefix(string(secret), signingKey); ok && len(claims) > 0 {
			key, err := base64.StdEncoding.DecodeString(encoded)
			return err == nil && len(key) > 0 && anyClaim(claims, mac(key, []byte(id+"."+at+"."), body))
		}
		// Hashed first, so that the length of the secret does not show.
		got, want := sha256.Sum256(token), sha256.Sum256(secret)
		return subtle.ConstantTimeCompare(got[:], want[:]) == 1
	}
}

// anyClaim tells whether one of "v1,<base64>" is right; there are several while
// a key is being replaced.
func anyClaim(claims []string, want []byte) bool {
	const maxClaims = 8
	right := 0
	for _, claim := range claims[:min(len(claims), maxClaims)] {
		encoded, isV1 := strings.CutPrefix(claim, "v1,")
		claimed, err := base64.StdEncoding.DecodeString(encoded)
		if isV1 && err == nil {
			right |= subtle.ConstantTimeCompare(claimed, want)
		}
	}
	return right == 1
}
