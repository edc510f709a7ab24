// Package git turns a Git repository and a revision into a Snapshot.
//
// In comes a Remote: a URL, credentials and a time limit. The git command
// copies its branches and tags into one bare mirror below a state directory,
// shared by everybody who may see it. Out come commits, and Snapshots that
// read the mirror's objects by their ids: lazily, through one long-lived
// `git cat-file` process, checked against the hash that names them, and kept
// in a bounded cache, so that whatever a new commit did not touch costs
// nothing.
//
// A repository is untrusted, and so is what its server says. Git runs without
// the user's configuration, without hooks and prompts, and speaks only the
// protocols that are named here; secrets reach it by its environment or by an
// agent's socket, never by a command line or a file that stays.
package git
