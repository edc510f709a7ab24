package repository

import (
	"context"
	"log/slog"
	"time"

	"k8s.io/utils/clock"

	sources "mizzen.dev/mizzen/internal/source"
)

// tidyEvery is how often mirrors are tidied, and how long after the start for
// the first time: by then every Application has said what it may want back.
const tidyEvery = time.Hour

// Tidier lets go of commits and mirrors that nobody needs any more.
type Tidier struct {
	Sources *sources.Sources
	Clock   clock.WithTicker
	Log     *slog.Logger
}

// Start tidies until the context ends.
func (t *Tidier) Start(ctx context.Context) error {
	ticker := t.Clock.NewTicker(tidyEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C():
			if err := t.Sources.Tidy(ctx); err != nil && ctx.Err() == nil {
				t.Log.Warn("the Git mirrors could not be tidied", "error", err)
			}
		}
	}
}
