package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/forge"
	"mizzen.dev/mizzen/internal/report"
)

// pullRequest is where plan --comment says what it found; nil says nothing.
type pullRequest struct{ forge.Target }

// pullRequestOf finds the pull request of this CI job, before anything is
// rendered: what is missing is told at once.
func pullRequestOf(f reviewFlags) (*pullRequest, error) {
	if !f.comment {
		return nil, nil
	}
	target, err := forge.Detect(os.Getenv)
	if err != nil {
		return nil, err
	}
	return &pullRequest{target}, nil
}

// tell keeps the comment and the status up to date. The status is a success if
// the exit code is. A job that runs for no pull request sets a status only.
func (p *pullRequest) tell(ctx context.Context, r *mizzen.Review, no bool) error {
	if p == nil {
		return nil
	}
	var c forge.Comment
	if p.Number > 0 {
		var body bytes.Buffer
		if err := report.ReviewMarkdown(&body, r); err != nil {
			return err
		}
		c = forge.Comment{Marker: report.CommentMarker, Body: body.String()}
	}
	s := forge.Status{State: forge.Success, Description: "planned"}
	if no {
		s.State = forge.Failure
	}
	if r.Verdict != nil {
		s.Description = report.VerdictLine(r.Verdict)
	}
	return p.publish(ctx, c, s)
}

// failed sets the status of a commit that could not be planned. The comment
// stays: it is of the last commit that could.
func (p *pullRequest) failed(ctx context.Context) error {
	if p == nil {
		return nil
	}
	return p.publish(context.WithoutCancel(ctx), forge.Comment{}, forge.Status{State: forge.Error, Description: "could not be planned; the log of the job says why"})
}

// publish leaves out the status where the commit is not known, as for a job that
// a comment started.
func (p *pullRequest) publish(ctx context.Context, c forge.Comment, s forge.Status) error {
	if p.Commit == "" {
		s = forge.Status{}
	}
	if err := forge.Publish(ctx, p.Target, c, s); err != nil {
		return fmt.Errorf("tell the pull request: %w", err)
	}
	return nil
}
