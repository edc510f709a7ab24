package live

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"mizzen.dev/mizzen"
)

// schemaCache keeps OpenAPI documents under the URL that the server gives for
// them, which holds a hash of the content: the same URL is the same document.
type schemaCache struct {
	mu    sync.Mutex
	index map[string]string // "apis/apps/v1" -> URL; nil if it must be read
	asked time.Time
	docs  map[string][]byte // URL -> document
}

// forget makes the next call read the index again. Documents whose hash is
// still the same are not read again.
func (s *schemaCache) forget() {
	s.mu.Lock()
	s.index = nil
	s.mu.Unlock()
}

// OpenAPI returns the OpenAPI v3 document of a group and version as JSON. It
// is kept until its hash changes; the index of hashes is read again after
// Invalidate. The error is of Kind NotFound if the server has none.
func (c *Cluster) OpenAPI(ctx context.Context, gv schema.GroupVersion) ([]byte, error) {
	name := "apis/" + gv.String()
	if gv.Group == "" {
		name = "api/" + gv.Version
	}
	about := "OpenAPI document of " + gv.String()
	uri, err := c.schemaURL(ctx, name)
	if err != nil {
		return nil, c.apiError(about, err)
	}
	if uri == "" {
		return nil, &mizzen.Error{
			Kind: mizzen.NotFound, Object: about, Err: errors.New("the cluster does not serve this version"),
			Remedy: "install the CustomResourceDefinition that defines it",
		}
	}
	s := &c.schemas
	s.mu.Lock()
	doc, ok := s.docs[uri]
	s.mu.Unlock()
	if ok {
		return doc, nil
	}
	got, err, _ := c.once.Do("openapi "+uri, func() (any, error) { return c.raw(ctx, uri) })
	if err != nil {
		return nil, c.apiError(about, err)
	}
	doc = got.([]byte)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keep(uri, doc)
	return doc, nil
}

// keep stores a document and drops those that the index no longer names.
func (s *schemaCache) keep(uri string, doc []byte) {
	named := make(map[string]bool, len(s.index))
	for _, u := range s.index {
		named[u] = true
	}
	for u := range s.docs {
		if !named[u] {
			delete(s.docs, u)
		}
	}
	if s.docs == nil {
		s.docs = make(map[string][]byte)
	}
	s.docs[uri] = doc
}

// schemaURL returns the URL of a document with its hash; "" if there is none.
// A miss reads the index again, but not more often than missInterval.
func (c *Cluster) schemaURL(ctx context.Context, name string) (string, error) {
	s := &c.schemas
	s.mu.Lock()
	uri, ok := s.index[name]
	wait := s.index != nil && c.clock.Now().Sub(s.asked) < missInterval
	s.mu.Unlock()
	if ok || wait {
		return uri, nil
	}
	index, err, _ := c.once.Do("openapi", func() (any, error) {
		body, err := c.raw(ctx, "/openapi/v3")
		if err != nil {
			return nil, err
		}
		var answer struct {
			Paths map[string]struct {
				URL string `json:"serverRelativeURL"`
			} `json:"paths"`
		}
		if err := json.Unmarshal(body, &answer); err != nil {
			return nil, fmt.Errorf("index of OpenAPI documents: %w", err)
		}
		index := make(map[string]string, len(answer.Paths))
		for name, path := range answer.Paths {
			index[name] = path.URL
		}
		return index, nil
	})
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index, s.asked = index.(map[string]string), c.clock.Now()
	return s.index[name], nil
}

// raw reads a URL of the API server, given from its root.
func (c *Cluster) raw(ctx context.Context, uri string) ([]byte, error) {
	release, err := c.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	ctx, cancel := bounded(ctx)
	defer cancel()
	u, err := url.Parse(uri)
	if err != nil {
		return nil, err
	}
	req := c.rest.Get().AbsPath(u.Path).SetHeader("Accept", "application/json")
	for key, values := range u.Query() {
		for _, v := range values {
			req.Param(key, v)
		}
	}
	return req.Do(ctx).Raw()
}
