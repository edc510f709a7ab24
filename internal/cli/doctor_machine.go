package cli

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"

	"mizzen.dev/mizzen/internal/render"
)

// oldestGit is the first release that can do what the mirrors need.
var oldestGit = semver.MustParse("2.36.0")

// machine checks what a verb needs of the computer that it runs on.
func (d *doctor) machine(ctx context.Context) {
	d.git(ctx)
	pool, err := render.NewPool(render.PoolConfig{AllowUnsandboxed: true, Workers: 1})
	if err != nil {
		d.fail("sandbox", err.Error(), "reinstall mizzen")
		return
	}
	defer pool.Close()
	if sandbox := pool.Sandbox(); !sandbox.Confined() {
		d.warn("sandbox", "charts cannot be confined here: "+sandbox.String(),
			"render only charts that you trust; a controller here needs --allow-unsandboxed-render")
	} else {
		d.ok("sandbox", "charts are confined: %s", sandbox)
	}
}

func (d *doctor) git(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "git", "version").Output()
	if err != nil {
		d.fail("git", "there is no git command: "+err.Error(), "install git 2.36 or later")
		return
	}
	text := strings.TrimSpace(strings.TrimPrefix(string(out), "git version"))
	number, _, _ := strings.Cut(text, " ")
	// Some builds append to the number: 2.39.5.windows.1.
	if parts := strings.SplitN(number, ".", 4); len(parts) == 4 {
		number = strings.Join(parts[:3], ".")
	}
	version, err := semver.NewVersion(number)
	switch {
	case err != nil:
		d.warn("git", fmt.Sprintf("its version %q cannot be read", text), "use git 2.36 or later")
	case version.LessThan(oldestGit):
		d.fail("git", "git "+text+" is too old", "install git 2.36 or later")
	default:
		d.ok("git", "git %s", text)
	}
}
