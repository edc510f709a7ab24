package report

import (
	"path"
	"strings"

	"mizzen.dev/mizzen"
)

// policyFile is named where nothing is nearer: what a repository says to Mizzen
// as a whole stands there.
const policyFile = ".mizzen.yaml"

// ground is what is known of the files of a repository, to find a place for
// what has none.
type ground struct {
	// objects is where each object begins.
	objects map[mizzen.Ref]mizzen.Origin
	// changed is the first line that changes in each cluster, "" for all of them.
	changed map[string]mizzen.Origin
	// meshes tells whether it is one of the mesh.
	meshes map[string]bool
	// first is a place that anything has.
	first mizzen.Origin
}

// newGround knows the places that Findings have.
func newGround(findings []mizzen.Finding) *ground {
	g := &ground{objects: map[mizzen.Ref]mizzen.Origin{}, changed: map[string]mizzen.Origin{}, meshes: map[string]bool{}}
	for _, f := range findings {
		if !hasFile(f) {
			continue
		}
		if g.first.File == "" {
			g.first = f.Origin
		}
		if _, known := g.objects[f.Ref]; !known && f.Ref.Kind != "" {
			g.objects[f.Ref] = f.Origin
		}
	}
	return g
}

// hasFile tells whether a Finding names a file. What cannot be rendered may
// name its directory.
func hasFile(f mizzen.Finding) bool {
	directory := f.Code == mizzen.CodeRenderFailed && f.Origin.Line == 0 && strings.Trim(path.Ext(f.Origin.File), ".") == ""
	return f.Origin.File != "" && !directory
}

// add knows the objects of an Application, and where it changes. A change of
// the mesh is nearer to what is asked than any other.
func (g *ground) add(i *mizzen.ReviewItem) {
	for _, c := range i.Changes {
		if c.Origin.File == "" {
			continue
		}
		g.objects[c.Ref] = c.Origin
		at := c.Origin
		for _, f := range c.Fields {
			if f.Origin.File != "" && f.Origin.Line > 0 {
				at = f.Origin
				break
			}
		}
		for _, cluster := range []string{"", i.Cluster} {
			if g.changed[cluster].File == "" || ofMesh(c.Ref) && !g.meshes[cluster] {
				g.changed[cluster], g.meshes[cluster] = at, ofMesh(c.Ref)
			}
		}
	}
}

func ofMesh(r mizzen.Ref) bool {
	return strings.HasSuffix(r.Group, "istio.io") || r.Group == "gateway.networking.k8s.io"
}

func (g *ground) placeAll(findings []mizzen.Finding) []mizzen.Finding {
	out := make([]mizzen.Finding, 0, len(findings))
	for _, f := range findings {
		out = append(out, g.place(f, "", mizzen.Origin{}))
	}
	return out
}

// placedReview are all Effects and Findings of a Review, sorted, each with a
// place.
func placedReview(r *mizzen.Review) []mizzen.Finding {
	g := newGround(ReviewFindings(r))
	for i := range r.Items {
		g.add(&r.Items[i])
		if g.first.File == "" {
			g.first = r.Items[i].Origin
		}
	}
	all := g.placeAll(r.Findings)
	for i := range r.Items {
		for _, f := range r.Items[i].Findings {
			if f.Origin.File == r.Items[i].Path && f.Origin.Line == 0 {
				f.Origin.File = "" // the directory
			}
			all = append(all, g.place(f, r.Items[i].Cluster, r.Items[i].Origin))
		}
	}
	for _, e := range r.Effects {
		all = append(all, g.place(effectFinding(e), e.Cluster, mizzen.Origin{}))
	}
	mizzen.SortFindings(all)
	return all
}

// place returns a Finding with a file and a line. If they are not its own it
// says so. manifest is that of the Application it is about, if one is known.
func (g *ground) place(f mizzen.Finding, cluster string, manifest mizzen.Origin) mizzen.Finding {
	object := g.objects[f.Ref]
	why := "the line is not known"
	switch known := hasFile(f); {
	case known && f.Origin.Line > 0:
		return f
	case object.File != "" && (!known || object.File == f.Origin.File && object.Line > 0):
		f.Origin, why = object, "the object is here"
	case !known:
		f.Origin, why = g.near(cluster, manifest)
	}
	f.Origin.Line = max(f.Origin.Line, 1)
	f.Message += " (the place is approximate: " + why + ")"
	return f
}

// near is a place for what names neither a file nor an object that is known.
func (g *ground) near(cluster string, manifest mizzen.Origin) (at mizzen.Origin, why string) {
	switch {
	case manifest.File != "":
		return manifest, "the application is declared here"
	case g.changed[cluster].File != "":
		return g.changed[cluster], "this changes"
	case g.changed[""].File != "":
		return g.changed[""], "this changes"
	case g.first.File != "":
		return g.first, "no file is known to bring it"
	}
	return mizzen.Origin{File: policyFile}, "no file is known to bring it"
}
