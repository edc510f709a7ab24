package supervise

import "context"

func (s *supervisor) serveGit(context.Context) error { return nil }
