package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"mizzen.dev/mizzen"
)

// answer is what came back for one attempt.
type answer struct {
	status int
	header http.Header
	body   []byte
	// final answers are not asked for again.
	final bool
}

// retry tells whether another attempt may help. What was refused for now was
// not carried out; what failed may have been.
func (a answer) retry(r *Request) bool {
	switch {
	case a.final:
		return false
	case a.limited():
		return true
	}
	return r.repeatable() && (a.status == 0 || a.status >= 500)
}

// limited tells whether the forge asks to slow down. GitHub does so by 403, too:
// https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api
func (a answer) limited() bool {
	if a.status == http.StatusTooManyRequests {
		return true
	}
	return a.status == http.StatusForbidden && (a.header.Get("Retry-After") != "" || a.header.Get("X-Ratelimit-Remaining") == "0")
}

// delay is what the forge asks for, in seconds, else 1 s, 2 s, 4 s.
func (a answer) delay(attempt int) time.Duration {
	if seconds, err := strconv.Atoi(a.header.Get("Retry-After")); err == nil && seconds >= 0 {
		return time.Duration(min(seconds, int(maxWait/time.Second))) * time.Second
	}
	return time.Second << (attempt - 1)
}

// refused is the error of an answer that is no success.
func (c *Client) refused(r *Request, response *http.Response, body []byte) error {
	err := fmt.Errorf("%s answers %s%s", c.host(), http.StatusText(response.StatusCode), said(body))
	if http.StatusText(response.StatusCode) == "" {
		err = fmt.Errorf("%s answers %d%s", c.host(), response.StatusCode, said(body))
	}
	remedy := ""
	if c.Explain != nil {
		remedy = c.Explain(response, r)
	}
	kind := mizzen.Unreachable
	switch status := response.StatusCode; {
	case (answer{status: status, header: response.Header}).limited():
		remedy = "wait, or use a token with a higher limit"
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		kind = mizzen.Forbidden
	case status == http.StatusNotFound:
		kind = mizzen.NotFound
	case status >= 500:
		remedy = "try again later"
	default:
		kind = mizzen.Invalid
	}
	return &statusError{Status: response.StatusCode, Text: string(body[:min(len(body), 1<<10)]), err: c.fail(r, kind, err, remedy)}
}

// said is the message of an error's body, if it has one, on one line.
func said(body []byte) string {
	var m struct {
		Message any `json:"message"`
		Error   any `json:"error"`
	}
	if json.Unmarshal(body, &m) != nil {
		return ""
	}
	text := m.Message
	if text == nil {
		text = m.Error
	}
	if text == nil {
		return ""
	}
	const most = 200
	line := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, fmt.Sprint(text))
	runes := []rune(line)
	return ": " + string(runes[:min(len(runes), most)])
}

// statusError keeps the status of an answer for those who must tell some apart.
type statusError struct {
	Status int
	Text   string
	err    error
}

func (e *statusError) Error() string { return e.err.Error() }
func (e *statusError) Unwrap() error { return e.err }

// Answered tells whether an error is an answer of this status whose body holds
// a text; an empty text is in every body.
func Answered(err error, status int, text string) bool {
	var e *statusError
	return errors.As(err, &e) && e.Status == status && strings.Contains(e.Text, text)
}
