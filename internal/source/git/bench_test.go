package git_test

import (
	"fmt"
	"strconv"
	"testing"

	"mizzen.dev/mizzen/internal/source/git"
)

const apps = 1000

// monorepo has one directory with two files per application.
func monorepo(b *testing.B) *upstream {
	b.Helper()
	u := newUpstream(b)
	for i := range apps {
		u.write(appPath(i)+"/deployment.yaml", fmt.Sprintf("kind: Deployment # %d\n", i))
		u.write(appPath(i)+"/service.yaml", fmt.Sprintf("kind: Service # %d\n", i))
	}
	u.commit("all applications")
	return u
}

func appPath(i int) string { return fmt.Sprintf("teams/team-%02d/app-%04d", i%50, i) }

// BenchmarkIDOf1000PathsAtNewCommit is what a commit to a monorepo costs the
// applications that it did not touch.
func BenchmarkIDOf1000PathsAtNewCommit(b *testing.B) {
	u := monorepo(b)
	m := mirror(b, u)
	identify(b, snapshot(b, m, "main"))
	n := 0
	for b.Loop() {
		b.StopTimer()
		n++
		u.push(appPath(n%apps)+"/deployment.yaml", strconv.Itoa(n))
		fetch(b, m)
		s := snapshot(b, m, "main")
		b.StartTimer()
		identify(b, s)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/apps, "ns/path")
}

func identify(b *testing.B, s *git.Snapshot) {
	for i := range apps {
		if _, err := s.ID(appPath(i)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkIDCold is the same with an empty cache, as after a restart.
func BenchmarkIDCold(b *testing.B) {
	u := monorepo(b)
	m := open(b, newStore(b, git.Options{CacheBytes: 1}), git.Remote{URL: u.url()})
	fetch(b, m)
	s := snapshot(b, m, "main")
	for b.Loop() {
		identify(b, s)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/apps, "ns/path")
}

// BenchmarkFetchOneCommit is the time from a push to the commit being known.
func BenchmarkFetchOneCommit(b *testing.B) {
	u := monorepo(b)
	m := mirror(b, u)
	n := 0
	for b.Loop() {
		b.StopTimer()
		n++
		u.push(appPath(n%apps)+"/deployment.yaml", strconv.Itoa(n))
		b.StartTimer()
		fetch(b, m)
	}
}

// BenchmarkBareGitFetch is the same by the git command alone, as a baseline.
func BenchmarkBareGitFetch(b *testing.B) {
	u := monorepo(b)
	bare := initUpstream(b, b.TempDir())
	n := 0
	pull := func() { bare.git("fetch", "-q", "--no-auto-maintenance", u.url(), "+refs/heads/*:refs/mirror/*") }
	pull()
	for b.Loop() {
		b.StopTimer()
		n++
		u.push(appPath(n%apps)+"/deployment.yaml", strconv.Itoa(n))
		b.StartTimer()
		pull()
	}
}

// BenchmarkFetchNothingNew is a poll without news.
func BenchmarkFetchNothingNew(b *testing.B) {
	u := monorepo(b)
	m := mirror(b, u)
	for b.Loop() {
		fetch(b, m)
	}
}

// BenchmarkResolve is what each reconcile of an application pays.
func BenchmarkResolve(b *testing.B) {
	u := monorepo(b)
	m := mirror(b, u)
	for b.Loop() {
		resolve(b, m, "main")
	}
}

// BenchmarkReadFile reads files that no cache has.
func BenchmarkReadFile(b *testing.B) {
	u := monorepo(b)
	m := open(b, newStore(b, git.Options{CacheBytes: 1 << 20}), git.Remote{URL: u.url()})
	fetch(b, m)
	s := snapshot(b, m, "main")
	n := 0
	for b.Loop() {
		n++
		if _, err := s.ReadFile(appPath(n%apps) + "/deployment.yaml"); err != nil {
			b.Fatal(err)
		}
	}
}
