package worker

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
	"mizzen.dev/mizzen/internal/traffic/trace"
)

// What is asked about one request. The Question is a traceQuestion, the result
// a traceAnswer: AskTrace comes with the objects, AskTraceKnown without them.
const (
	AskTrace      Ask = "trace"
	AskTraceKnown Ask = "trace-known"
)

type traceQuestion struct {
	trace.Question
	// Digest names the mesh of AskTraceKnown.
	Digest string `json:"digest,omitempty"`
}

type traceAnswer struct {
	// Known is false if the worker does not have the mesh any more.
	Known bool          `json:"known"`
	Trace *mizzen.Trace `json:"trace,omitempty"`
}

// Mesh is one that requests are followed through. As long as the worker
// remembers it, a question is sent without the objects.
type Mesh struct {
	client *Client
	job    Job
	digest string
}

// Mesh prepares questions about the mesh that objects make. The mesh
// configuration is YAML, laid over what the objects say.
func (c *Client) Mesh(objects []mizzen.Object, meshConfig string) (*Mesh, error) {
	m := &Mesh{client: c, job: Job{Ask: AskTrace, Both: Send(objects), MeshConfig: meshConfig}}
	sum, err := digestOf(m.job, nil, [][]Object{m.job.Both, m.job.After})
	if err != nil {
		return nil, err
	}
	m.digest = hex.EncodeToString(sum[:])
	return m, nil
}

// Trace says what becomes of a request. Errors are those of trace.Trace and of
// Do.
func (m *Mesh) Trace(ctx context.Context, q trace.Question) (*mizzen.Trace, error) {
	question, err := json.Marshal(traceQuestion{q, m.digest})
	if err != nil {
		return nil, err
	}
	var a traceAnswer
	if err := m.client.Do(ctx, Job{Ask: AskTraceKnown, Question: question}, &a); err != nil || a.Known {
		return a.Trace, err
	}
	job := m.job
	job.Question = question
	err = m.client.Do(ctx, job, &a)
	return a.Trace, err
}

func traceRequest(ctx context.Context, s *session, job Job) (any, error) {
	mesh, err := s.mesh(ctx, job, nil, job.Both, job.After)
	if err != nil {
		return nil, err
	}
	return traceIn(mesh, job)
}

func traceKnown(_ context.Context, s *session, job Job) (any, error) {
	var q traceQuestion
	if err := json.Unmarshal(job.Question, &q); err != nil {
		return nil, fmt.Errorf("read the question: %w", err)
	}
	for _, c := range s.recent {
		if hex.EncodeToString(c.digest[:]) == q.Digest {
			return traceIn(c.mesh, job)
		}
	}
	return traceAnswer{}, nil
}

func traceIn(mesh *traffic.Mesh, job Job) (any, error) {
	var q traceQuestion
	if err := json.Unmarshal(job.Question, &q); err != nil {
		return nil, fmt.Errorf("read the question: %w", err)
	}
	t, err := trace.Trace(mesh, q.Question)
	return traceAnswer{Known: true, Trace: t}, err
}
