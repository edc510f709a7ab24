package mesh

import (
	"encoding/json"
	"math"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// sample is one row of what Prometheus answers.
type sample struct {
	Labels map[string]string
	Value  float64
}

// query asks Prometheus what an expression is now.
func (m *team) query(expr string) []sample {
	m.Helper()
	address := m.lab.URLs["prometheus"] + "/api/v1/query?query=" + url.QueryEscape(expr)
	request, err := http.NewRequestWithContext(m.Context(), http.MethodGet, address, nil)
	if err != nil {
		m.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		m.Fatal(err)
	}
	defer response.Body.Close()
	var answer struct {
		Status, Error string
		Data          struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || answer.Status != "success" {
		m.Fatalf("%s\n%v %s", expr, err, answer.Error)
	}
	samples := make([]sample, 0, len(answer.Data.Result))
	for _, r := range answer.Data.Result {
		text, _ := r.Value[1].(string)
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			m.Fatalf("%s\n%v", expr, err)
		}
		samples = append(samples, sample{r.Metric, value})
	}
	return samples
}

// value is the one number that an expression is; false if it is none yet.
func (m *team) value(expr string) (float64, bool) {
	m.Helper()
	samples := m.query(expr)
	if len(samples) != 1 || math.IsNaN(samples[0].Value) { // nothing was divided by nothing
		return 0, false
	}
	return samples[0].Value, true
}

var promql = regexp.MustCompile("(?s)```promql\n(.*?)```")

// documented are the queries of docs/lab-metrics.md in the order of that page,
// about a service of the team instead of the shop's reviews.
func (m *team) documented(service string) []string {
	m.Helper()
	page, err := os.ReadFile("../../docs/lab-metrics.md")
	if err != nil {
		m.Fatal(err)
	}
	ours := strings.NewReplacer(`"shop"`, strconv.Quote(m.ns), "reviews-v2", service+"-v1", "reviews.shop.", service+"."+m.ns+".")
	var queries []string
	for _, block := range promql.FindAllStringSubmatch(string(page), -1) {
		for _, query := range strings.Split(block[1], "\n\n") {
			queries = append(queries, ours.Replace(query))
		}
	}
	return queries
}
