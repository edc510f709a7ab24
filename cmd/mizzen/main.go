// Command mizzen is GitOps for the service mesh: a command line, a controller
// and, later, a console in one binary.
package main

func main() {}
