package report

import (
	"strings"

	"mizzen.dev/mizzen"
)

// codes says in a few words what each Finding is about, for formats that list
// their rules.
var codes = map[mizzen.Code]string{
	mizzen.CodeNondeterministic:       "A template is not a function of its inputs",
	mizzen.CodeSubmodule:              "The content of a submodule is not fetched",
	mizzen.CodeLFSPointer:             "A file is a Git LFS pointer, not its content",
	mizzen.CodeHookNotRun:             "A hook of another tool is left out",
	mizzen.CodeDuplicateKey:           "A mapping has a key twice",
	mizzen.CodeFileName:               "A file's name is not UTF-8",
	mizzen.CodeRenderFailed:           "The files cannot be turned into objects",
	mizzen.CodeNotExpanded:            "The manifest generates Applications only in a cluster",
	mizzen.CodeElsewhere:              "The application's content is not in this repository",
	mizzen.CodeOptionIgnored:          "An option of another tool has no part in the rendering",
	mizzen.CodeNotJudged:              "What a change does could not be found out",
	mizzen.CodeUnseen:                 "Something changes where the review cannot look",
	mizzen.CodeUnknownField:           "The kind has no such field",
	mizzen.CodeWrongType:              "A value has the wrong type",
	mizzen.CodeMissingField:           "A required field is missing",
	mizzen.CodeInvalidValue:           "A value is not allowed",
	mizzen.CodeUnknownKind:            "No schema is known for the kind",
	mizzen.CodeDuplicateListKey:       "Two list elements have the same key",
	mizzen.CodeClusterScopedNamespace: "A cluster-scoped object names a namespace",
	mizzen.CodeDuplicateObject:        "An object is rendered twice",
	mizzen.CodeGenerateName:           "An object has no name",
	mizzen.CodeInvalidMetadata:        "A name, label or annotation has an invalid form",
	mizzen.CodeInvalidSyncOption:      "A sync wave or option cannot be understood",
	mizzen.CodeInvalidLintIgnore:      "An annotation that silences findings is not understood",
	mizzen.CodeAdopted:                "An existing object is adopted",
	mizzen.CodeOwnedByAnother:         "Another application owns the object",
	mizzen.CodeSkippedMissingCRD:      "The cluster does not know the kind",
	mizzen.CodeImmutableField:         "The field cannot be changed",
	mizzen.CodeHandedOver:             "The field belongs to another manager",
	mizzen.CodeForeignField:           "Somebody else added a field",
	mizzen.CodeKept:                   "The object left Git and is kept",
	mizzen.CodeRefused:                "The API server refuses the object",

	mizzen.CodeAnalyzerFailed:           "A check of Istio's own failed",
	mizzen.CodeAnotherIstio:             "The mesh runs another Istio or Envoy than the model",
	mizzen.CodeWeights:                  "The weights of a route do not add up to 100",
	mizzen.CodeEmptySubset:              "A subset selects no workload",
	mizzen.CodeHostWithoutService:       "A VirtualService is for a host that no Service has",
	mizzen.CodeTLSMismatch:              "Callers speak what the server refuses",
	mizzen.CodeEmptyPolicy:              "A policy denies or allows everything",
	mizzen.CodeHTTPPolicyOnTCP:          "A policy asks for HTTP at a port that is TCP",
	mizzen.CodeHiddenHost:               "A Sidecar hides a host that is routed to",
	mizzen.CodePlainHTTPS:               "A gateway speaks plaintext at port 443",
	mizzen.CodeTimeoutBeforeRetries:     "A timeout cuts retries off",
	mizzen.CodeGatewayRouteTwice:        "Two VirtualServices route the same requests",
	mizzen.CodePortOfService:            "A policy names the port of a Service for that of a workload",
	mizzen.CodeDuplicateDestinationRule: "Two DestinationRules of a host contradict each other",
	mizzen.CodeDelegate:                 "A route is handed to a VirtualService that cannot take it",
}

// Describe says what a code is about.
func Describe(c mizzen.Code) string {
	if text := codes[c]; text != "" {
		return text
	}
	if strings.HasPrefix(string(c), "IST") {
		return "Istio's analysis: " + analysisURI(c)
	}
	return string(c)
}

// analysisURI is the page of a message of Istio's analyzers.
func analysisURI(c mizzen.Code) string {
	return "https://istio.io/latest/docs/reference/config/analysis/" + strings.ToLower(string(c)) + "/"
}
