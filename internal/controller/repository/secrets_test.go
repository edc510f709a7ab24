package repository

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/webhook"
)

// keeper answers every read with one token, and counts.
type keeper struct {
	client.Reader
	reads int
}

func (k *keeper) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	k.reads++
	return nil
}

func TestFailedFetchKeepsWebhook(t *testing.T) {
	name := mizzen.Name{Namespace: "shop", Name: "demo"}
	reader := &keeper{}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	r := &Reconciler{Secrets: reader, Clock: clocktesting.NewFakePassiveClock(now)}
	repo := &v1alpha1.Repository{}
	repo.Spec.URL, repo.Spec.WebhookSecretRef = "https://git.test/shop.git", &v1alpha1.SecretReference{Name: "hook"}
	if _, err := r.secretsOf(t.Context(), name, repo); err != nil {
		t.Fatal(err)
	}
	r.secrets.all[name].token = []byte("s3cret")

	r.distrustSecrets(name)
	want := []webhook.Target{{Name: name, Secret: []byte("s3cret")}}
	if diff := cmp.Diff(want, r.Targets([]string{webhook.Key(repo.Spec.URL)})); diff != "" {
		t.Errorf("targets after a failed fetch (-want +got):\n%s", diff)
	}
	if _, err := r.secretsOf(t.Context(), name, repo); err != nil {
		t.Fatal(err)
	}
	if reader.reads != 2 {
		t.Errorf("the Secret was read %d times, want again after the failure", reader.reads)
	}
	r.forgetSecrets(name)
	if got := r.Targets([]string{webhook.Key(repo.Spec.URL)}); len(got) != 0 {
		t.Errorf("targets of a Repository that is gone: %v", got)
	}
}
