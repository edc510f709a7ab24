package load

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// EnvHelp documents FromEnv.
const EnvHelp = `  PORT=8080            of the control API
  TARGETS="web=http://web/ http://catalog/"
                       what a start without a body sends to: URLs, with or without a name
  QPS, CONNECTIONS, DURATION, TIMEOUT
                       the rest of that configuration; DURATION without a value goes on until it is stopped
  HOST                 Host header of all TARGETS
`

// FromEnv reads the configuration that a start without one uses from an
// environment, such as os.Getenv. Without TARGETS there is none.
func FromEnv(getenv func(string) string) (*Config, error) {
	var c Config
	var errs []error
	for _, field := range strings.Fields(getenv("TARGETS")) {
		t := ParseTarget(field)
		t.Host = getenv("HOST")
		c.Targets = append(c.Targets, t)
	}
	read := func(name string, parse func(string) error) {
		if v := getenv(name); v != "" {
			if err := parse(v); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", name, err))
			}
		}
	}
	read("QPS", func(v string) (err error) { c.QPS, err = strconv.ParseFloat(v, 64); return err })
	read("CONNECTIONS", func(v string) (err error) { c.Connections, err = strconv.Atoi(v); return err })
	read("DURATION", func(v string) error { return c.Duration.UnmarshalText([]byte(v)) })
	read("TIMEOUT", func(v string) error { return c.Timeout.UnmarshalText([]byte(v)) })
	if err := errors.Join(errs...); err != nil || len(c.Targets) == 0 {
		return nil, err
	}
	complete, err := c.Complete()
	if err != nil {
		return nil, fmt.Errorf("TARGETS, QPS, CONNECTIONS, DURATION, TIMEOUT: %w", err)
	}
	return &complete, nil
}

// ParseTarget reads URL, or NAME=URL. The URL is checked by Complete.
func ParseTarget(s string) Target {
	name, url, found := strings.Cut(s, "=")
	// The first = may belong to the URL's query.
	if !found || strings.Contains(name, "://") {
		return Target{URL: s}
	}
	return Target{Name: name, URL: url}
}
