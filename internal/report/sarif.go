package report

import (
	"encoding/json"
	"io"
	"slices"
	"strings"

	"mizzen.dev/mizzen"
)

// SARIF is the form of the OASIS standard SARIF 2.1.0 as far as Findings need
// it: https://docs.oasis-open.org/sarif/sarif/v2.1.0/.
type sarifLog struct {
	Version string     `json:"version"`
	Schema  string     `json:"$schema"`
	Runs    []sarifRun `json:"runs"`
}

type sarifRun struct {
	Tool struct {
		Driver sarifDriver `json:"driver"`
	} `json:"tool"`
	Results []sarifResult `json:"results"`
}

type sarifDriver struct {
	Name    string      `json:"name"`
	Version string      `json:"version,omitempty"`
	Rules   []sarifRule `json:"rules"`
}

type sarifRule struct {
	ID               string    `json:"id"`
	ShortDescription sarifText `json:"shortDescription"`
	FullDescription  sarifText `json:"fullDescription"`
	Help             sarifText `json:"help"`
	HelpURI          string    `json:"helpUri"`
}

type sarifText struct {
	Text string `json:"text"`
}

type sarifResult struct {
	RuleID    string          `json:"ruleId"`
	RuleIndex int             `json:"ruleIndex"`
	Level     string          `json:"level"`
	Message   sarifText       `json:"message"`
	Locations []sarifLocation `json:"locations"`
}

type sarifLocation struct {
	PhysicalLocation sarifPhysical  `json:"physicalLocation"`
	LogicalLocations []sarifLogical `json:"logicalLocations,omitempty"`
}

type sarifPhysical struct {
	ArtifactLocation struct {
		URI       string `json:"uri"`
		URIBaseID string `json:"uriBaseId"`
	} `json:"artifactLocation"`
	Region sarifRegion `json:"region"`
}

type sarifRegion struct {
	StartLine int `json:"startLine"`
}

type sarifLogical struct {
	FullyQualifiedName string `json:"fullyQualifiedName"`
	Kind               string `json:"kind"`
}

// SARIF writes Findings as SARIF 2.1.0, for code scanning. version is that of
// the tool. A Finding without a place gets one that is near, and says so.
func SARIF(out io.Writer, findings []mizzen.Finding, version string) error {
	return writeSARIF(out, newGround(findings).placeAll(findings), version)
}

// ReviewSARIF writes the Effects and Findings of a Review as SARIF does.
func ReviewSARIF(out io.Writer, r *mizzen.Review, version string) error {
	return writeSARIF(out, placedReview(r), version)
}

func writeSARIF(out io.Writer, findings []mizzen.Finding, version string) error {
	var ids []mizzen.Code
	for _, f := range findings {
		ids = append(ids, f.Code)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	run := sarifRun{Results: make([]sarifResult, 0, len(findings))}
	run.Tool.Driver = sarifDriver{Name: "mizzen", Version: version, Rules: make([]sarifRule, 0, len(ids))}
	for _, id := range ids {
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRuleOf(id))
	}
	for _, f := range findings {
		index, _ := slices.BinarySearch(ids, f.Code)
		run.Results = append(run.Results, sarifResult{
			RuleID: string(f.Code), RuleIndex: index, Level: sarifLevel(f.Severity),
			Message: sarifText{sentence(f)}, Locations: sarifPlaces(f),
		})
	}
	b, err := json.MarshalIndent(sarifLog{
		Version: "2.1.0", Schema: "https://json.schemastore.org/sarif-2.1.0.json", Runs: []sarifRun{run},
	}, "", "  ")
	if err != nil {
		return err
	}
	_, err = out.Write(append(escape(b), '\n'))
	return err
}

// sarifRuleOf says what a code is about, in all the places where viewers look
// for it.
func sarifRuleOf(c mizzen.Code) sarifRule {
	about := sarifText{ruleText(c)}
	return sarifRule{
		ID: string(c), ShortDescription: about, FullDescription: about,
		Help: sarifText{about.Text + ". What it means and what to do: " + helpURI(c)}, HelpURI: helpURI(c),
	}
}

// ruleText says what the code of a Finding, or of an Effect as one, is about.
func ruleText(c mizzen.Code) string {
	if text, ok := effects[mizzen.EffectCode(c)]; ok {
		return text
	}
	return Describe(c)
}

// reference is where docs/reference is to be read.
const reference = "https://mizzen.dev/docs/reference/"

// helpURI is the page that explains a code.
func helpURI(c mizzen.Code) string {
	switch {
	case strings.HasPrefix(string(c), "IST"):
		return analysisURI(c)
	case strings.HasPrefix(string(c), "MT"):
		return reference + "effects.md#" + strings.ToLower(string(c))
	}
	return reference + "findings.md#" + strings.ToLower(string(c))
}

func sarifLevel(s mizzen.Severity) string {
	switch s {
	case mizzen.Fatal:
		return "error"
	case mizzen.Warning:
		return "warning"
	case mizzen.Info:
	}
	return "note"
}

// sarifPlaces is where a Finding is: one place, since code scanning refuses a
// whole upload for one result without (docs.github.com: SARIF support for code
// scanning, "location object").
func sarifPlaces(f mizzen.Finding) []sarifLocation {
	var at sarifLocation
	at.PhysicalLocation.ArtifactLocation.URI = fileURI(f.Origin.File)
	at.PhysicalLocation.ArtifactLocation.URIBaseID = "%SRCROOT%"
	at.PhysicalLocation.Region.StartLine = f.Origin.Line
	if f.Ref.Kind != "" {
		at.LogicalLocations = []sarifLogical{{f.Ref.String(), "object"}}
	}
	return []sarifLocation{at}
}
