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
)
