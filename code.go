package mizzen

// Code is the stable name of a Finding: MZ and four digits. A code is never
// given another meaning, and never reused.
type Code string

// The codes of Findings. 1xxx: source and render; 2xxx: schemas and form of
// objects; 3xxx: ownership and applying; 4xxx: traffic. Istio's analyzers have
// codes of their own, IST and four digits.
const (
	// CodeNondeterministic: a template is not a function of its inputs.
	CodeNondeterministic Code = "MZ1001"
	// CodeSubmodule: the path holds a submodule, whose content is not fetched.
	CodeSubmodule Code = "MZ1002"
	// CodeLFSPointer: a file is a Git LFS pointer, not its content.
	CodeLFSPointer Code = "MZ1003"
	// CodeHookNotRun: the object is a hook of another tool and is left out.
	CodeHookNotRun Code = "MZ1004"
	// CodeDuplicateKey: a YAML mapping has a key twice; the last one counts.
	CodeDuplicateKey Code = "MZ1005"
	// CodeFileName: a file's name is not UTF-8, so that it cannot be read.
	CodeFileName Code = "MZ1006"
	// CodeRenderFailed: the files cannot be turned into objects.
	CodeRenderFailed Code = "MZ1007"
	// CodeNotExpanded: the manifest generates Applications only in a cluster.
	CodeNotExpanded Code = "MZ1008"
	// CodeElsewhere: the Application's content is not in this repository.
	CodeElsewhere Code = "MZ1009"
	// CodeOptionIgnored: an option of another tool has no part in the rendering.
	CodeOptionIgnored Code = "MZ1010"
	// CodeNotJudged: what a change does could not be found out.
	CodeNotJudged Code = "MZ1011"
	// CodeUnseen: something changes where the review cannot look: below an
	// Application that cannot be rendered, or below what is not covered.
	CodeUnseen Code = "MZ1012"

	// CodeUnknownField: the kind's schema does not know the field.
	CodeUnknownField Code = "MZ2001"
	// CodeWrongType: the value has another type than the schema says.
	CodeWrongType Code = "MZ2002"
	// CodeMissingField: the schema requires the field.
	CodeMissingField Code = "MZ2003"
	// CodeInvalidValue: the schema forbids the value.
	CodeInvalidValue Code = "MZ2004"
	// CodeUnknownKind: no schema is known for the kind.
	CodeUnknownKind Code = "MZ2005"
	// CodeDuplicateListKey: two list elements have the same merge key; the
	// last one counts.
	CodeDuplicateListKey Code = "MZ2006"
	// CodeClusterScopedNamespace: a cluster-scoped object names a namespace.
	CodeClusterScopedNamespace Code = "MZ2007"
	// CodeDuplicateObject: one Application renders an object twice.
	CodeDuplicateObject Code = "MZ2008"
	// CodeGenerateName: an object without a name cannot be kept in sync.
	CodeGenerateName Code = "MZ2009"
	// CodeInvalidMetadata: a name, namespace, label or annotation has a form
	// that no API server accepts.
	CodeInvalidMetadata Code = "MZ2010"
	// CodeInvalidSyncOption: a sync wave or option cannot be understood.
	CodeInvalidSyncOption Code = "MZ2011"
	// CodeInvalidLintIgnore: an annotation that silences Findings cannot be
	// understood, or gives no reason.
	CodeInvalidLintIgnore Code = "MZ2012"

	// CodeAdopted: the object exists, unowned, and becomes ours.
	CodeAdopted Code = "MZ3001"
	// CodeOwnedByAnother: another Application or installation owns the object.
	CodeOwnedByAnother Code = "MZ3002"
	// CodeSkippedMissingCRD: the kind is not (yet) known to the cluster.
	CodeSkippedMissingCRD Code = "MZ3003"
	// CodeImmutableField: the API server refuses to change the field.
	CodeImmutableField Code = "MZ3004"
	// CodeHandedOver: the field was in Git and now belongs to another manager.
	CodeHandedOver Code = "MZ3005"
	// CodeForeignField: somebody else added a field to an object of ours.
	CodeForeignField Code = "MZ3006"
	// CodeKept: the object left Git but is kept, as it asks for.
	CodeKept Code = "MZ3007"
	// CodeRefused: the API server's dry-run refuses the object.
	CodeRefused Code = "MZ3008"

	// CodeAnalyzerFailed: a check of Istio's own failed, so that nothing is
	// known about what it looks for.
	CodeAnalyzerFailed Code = "MZ4001"
	// CodeAnotherIstio: the mesh runs another Istio or Envoy than effects and
	// traces are computed with.
	CodeAnotherIstio Code = "MZ4002"
	// CodeWeights: the weights of a route do not add up to 100.
	CodeWeights Code = "MZ4101"
	// CodeEmptySubset: a subset selects no workload of its Service.
	CodeEmptySubset Code = "MZ4102"
	// CodeHostWithoutService: a VirtualService is for a host that no Service
	// has.
	CodeHostWithoutService Code = "MZ4103"
	// CodeTLSMismatch: callers are told to speak what the server refuses.
	CodeTLSMismatch Code = "MZ4104"
	// CodeEmptyPolicy: an AuthorizationPolicy denies or allows everything,
	// since it does not say what it is about.
	CodeEmptyPolicy Code = "MZ4105"
	// CodeHTTPPolicyOnTCP: a policy asks for fields of HTTP at a port that is
	// TCP.
	CodeHTTPPolicyOnTCP Code = "MZ4106"
	// CodeHiddenHost: a Sidecar hides a host that its namespace routes to.
	CodeHiddenHost Code = "MZ4107"
	// CodePlainHTTPS: a gateway speaks plaintext at port 443.
	CodePlainHTTPS Code = "MZ4108"
	// CodeTimeoutBeforeRetries: the timeout of a route ends before its retries
	// are used up.
	CodeTimeoutBeforeRetries Code = "MZ4109"
	// CodeGatewayRouteTwice: two VirtualServices route the same requests at one
	// gateway.
	CodeGatewayRouteTwice Code = "MZ4110"
	// CodePortOfService: a PeerAuthentication names the port of a Service, not
	// that of the workload.
	CodePortOfService Code = "MZ4111"
	// CodeDuplicateDestinationRule: two DestinationRules of one host contradict
	// each other.
	CodeDuplicateDestinationRule Code = "MZ4112"
	// CodeDelegate: a route is handed to a VirtualService that cannot take it.
	CodeDelegate Code = "MZ4113"
)
