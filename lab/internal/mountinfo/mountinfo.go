// Package mountinfo reads what the kernel says of the mounts of a process
// (proc_pid_mountinfo(5)): in goes the table, out come its mounts.
package mountinfo

import "strings"

// Mount is one that the process can see, or that another one covers.
type Mount struct {
	// Path is where it is.
	Path string
	// Options are those of the mount itself: "ro", "nosuid" and so on.
	Options []string
	// Type is that of its file system.
	Type string
}

// Parse returns the mounts of a table, in the order in which they were made.
// Lines that are damaged are left out.
func Parse(table string) []Mount {
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	var mounts []Mount
	for line := range strings.Lines(table) {
		// Before " - " there may be any number of optional fields.
		own, of, _ := strings.Cut(line, " - ")
		fields, kind := strings.Fields(own), strings.Fields(of)
		if len(fields) < 6 || len(kind) == 0 {
			continue
		}
		mounts = append(mounts, Mount{Path: unescape.Replace(fields[4]), Options: strings.Split(fields[5], ","), Type: kind[0]})
	}
	return mounts
}
