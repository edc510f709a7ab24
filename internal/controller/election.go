package controller

import (
	"context"
	"fmt"
	"net/http"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordination "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/klog/v2"

	"mizzen.dev/mizzen"
)

// lead waits for the Lease, runs term while this process has it, and gives it
// back once term has ended, so that two never lead at a time. It returns when
// the lead is lost, when term fails, or when ctx ends.
func (c *Controller) lead(ctx context.Context, term func(context.Context) error) error {
	elected, over := make(chan struct{}), make(chan struct{})
	lock, err := c.lease()
	if err != nil {
		return err
	}
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Name: LeaseName, Lock: lock, ReleaseOnCancel: true,
		LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: retryPeriod,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { close(elected) },
			OnStoppedLeading: func() {},
			OnNewLeader:      c.leaderIs,
		},
	})
	if err != nil {
		return fmt.Errorf("leader election: %w", err)
	}
	// The Lease outlives ctx until the loops have ended. What the elector has
	// to say is said by the lock, once.
	held, release := context.WithCancel(klog.NewContext(context.WithoutCancel(ctx), logr.Discard()))
	defer release()
	go func() {
		defer close(over)
		elector.Run(held)
	}()
	select {
	case <-elected:
	case <-ctx.Done():
		release()
		<-over
		return nil
	}
	working, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() {
		<-over
		stop(errLost)
	}()
	err = term(working)
	if cause := context.Cause(working); cause != nil && ctx.Err() == nil {
		err = cause
	}
	release()
	<-over
	return err
}

// leaderIs hears who leads.
func (c *Controller) leaderIs(id string) {
	switch id {
	case "", c.identity.id:
		c.status.standBy(false)
	default:
		c.status.standBy(true)
		c.Log.Info("standing by: another process leads", "leader", id)
	}
}

// lease is the lock that the leader holds.
func (c *Controller) lease() (resourcelock.Interface, error) {
	config := rest.CopyConfig(c.Config)
	config.QPS, config.Timeout = -1, renewDeadline/2
	client, err := coordination.NewForConfigAndClient(config, c.patient(config))
	if err != nil {
		return nil, fmt.Errorf("client for the lease: %w", err)
	}
	return &lease{home: c.home, Interface: &resourcelock.LeaseLock{
		LeaseMeta: metav1.ObjectMeta{Namespace: mizzen.SystemNamespace, Name: LeaseName}, Client: client,
		LockConfig: resourcelock.ResourceLockConfig{Identity: c.identity.id},
	}}, nil
}

// patient is the HTTP client of all terms, with the timeout of a config.
func (c *Controller) patient(config *rest.Config) *http.Client {
	client := *c.http
	client.Timeout = config.Timeout
	return &client
}

// lease notes whether the API answers.
type lease struct {
	resourcelock.Interface
	home *home
}

// Get reads the record.
func (l *lease) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	record, raw, err := l.Interface.Get(ctx)
	l.home.note(err)
	return record, raw, err
}

// Create makes the first record.
func (l *lease) Create(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	err := l.Interface.Create(ctx, r)
	l.home.note(err)
	return err
}

// Update changes the record.
func (l *lease) Update(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	err := l.Interface.Update(ctx, r)
	l.home.note(err)
	return err
}
