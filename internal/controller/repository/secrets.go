package repository

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/webhook"
)

// secretsAge is how long a Secret is believed without reading it again. A
// rotated credential is noticed earlier: the old one is refused.
const secretsAge = 10 * time.Minute

// secrets keeps what the Secrets of a Repository said, so that a fetch costs
// no request to the API.
type secrets struct {
	mu  sync.Mutex
	all map[mizzen.Name]*known
}

type known struct {
	generation  int64
	read        time.Time
	credentials map[string][]byte
	// key and token are what a webhook is matched and verified by.
	key   string
	token []byte
}

// of returns the Secrets of a Repository, from memory if they are fresh.
func (r *Reconciler) secretsOf(ctx context.Context, name mizzen.Name, repo *v1alpha1.Repository) (*known, error) {
	r.secrets.mu.Lock()
	k := r.secrets.all[name]
	r.secrets.mu.Unlock()
	if k != nil && k.generation == repo.Generation && r.Clock.Since(k.read) < secretsAge {
		return k, nil
	}
	k = &known{generation: repo.Generation, read: r.Clock.Now(), key: webhook.Key(repo.Spec.URL)}
	var err error
	if k.credentials, err = r.secret(ctx, repo, repo.Spec.SecretRef, "spec.secretRef"); err != nil {
		return nil, err
	}
	hook, err := r.secret(ctx, repo, repo.Spec.WebhookSecretRef, "spec.webhookSecretRef")
	if err != nil {
		return nil, err
	}
	k.token = hook["token"]
	r.secrets.mu.Lock()
	defer r.secrets.mu.Unlock()
	if r.secrets.all == nil {
		r.secrets.all = map[mizzen.Name]*known{}
	}
	r.secrets.all[name] = k
	return k, nil
}

// distrustSecrets makes the next fetch read the Secrets again, because one of
// them may be why the last one failed. Webhooks are still known by what was
// read: a push may be what mends the fetch.
func (r *Reconciler) distrustSecrets(name mizzen.Name) {
	r.secrets.mu.Lock()
	defer r.secrets.mu.Unlock()
	if k := r.secrets.all[name]; k != nil {
		stale := *k
		stale.read = time.Time{}
		r.secrets.all[name] = &stale
	}
}

// forgetSecrets drops what was read for a Repository that is gone.
func (r *Reconciler) forgetSecrets(name mizzen.Name) {
	r.secrets.mu.Lock()
	defer r.secrets.mu.Unlock()
	delete(r.secrets.all, name)
}

func (r *Reconciler) secret(ctx context.Context, repo *v1alpha1.Repository, ref *v1alpha1.SecretReference, field string) (map[string][]byte, error) {
	if ref == nil {
		return nil, nil
	}
	key := client.ObjectKey{Namespace: repo.Namespace, Name: ref.Name}
	var secret corev1.Secret
	if err := r.Secrets.Get(ctx, key, &secret); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, &mizzen.Error{
				Kind: mizzen.NotFound, Object: "secret " + key.String(), Err: errors.New("not found"),
				Remedy: "create it, or correct " + field,
			}
		}
		return nil, fmt.Errorf("secret %s: %w", key, err)
	}
	return secret.Data, nil
}

// Targets returns the Repositories that a push of one of the keys may mean,
// with the secrets that sign it.
func (r *Reconciler) Targets(keys []string) []webhook.Target {
	r.secrets.mu.Lock()
	defer r.secrets.mu.Unlock()
	var targets []webhook.Target
	for name, k := range r.secrets.all {
		if len(k.token) > 0 && slices.Contains(keys, k.key) {
			targets = append(targets, webhook.Target{Name: name, Secret: k.token})
		}
	}
	return targets
}
