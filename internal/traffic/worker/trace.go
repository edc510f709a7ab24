package worker

import (
	"context"
	"encoding/json"
	"fmt"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic/trace"
)

// AskTrace asks what becomes of one request; the Question is a trace.Question,
// the result a mizzen.Trace.
const AskTrace Ask = "trace"

// Trace says what becomes of a request in the mesh that objects make. Errors
// are those of trace.Trace.
func (c *Client) Trace(ctx context.Context, objects []mizzen.Object, meshConfig string, q trace.Question) (*mizzen.Trace, error) {
	question, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	var answer mizzen.Trace
	if err := c.Do(ctx, Job{Ask: AskTrace, Both: Send(objects), MeshConfig: meshConfig, Question: question}, &answer); err != nil {
		return nil, err
	}
	return &answer, nil
}

func traceRequest(ctx context.Context, s *session, job Job) (any, error) {
	var q trace.Question
	if err := json.Unmarshal(job.Question, &q); err != nil {
		return nil, fmt.Errorf("read the question: %w", err)
	}
	mesh, err := s.mesh(ctx, job, job.Both, job.After)
	if err != nil {
		return nil, err
	}
	return trace.Trace(mesh, q)
}
