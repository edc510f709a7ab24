package render

// Result is what a request for a rendering yields.
type Result struct {
	Output *Output
	// Key says what the Output depends on.
	Key Key
	// FromCache is whether it was kept from an earlier rendering.
	FromCache bool
}
