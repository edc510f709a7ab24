package mesh

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"istio.io/istio/pkg/log"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic/compile"
	"mizzen.dev/mizzen/internal/traffic/worker"
)

// compiler is the variable that makes the test binary compile the objects on
// its standard input: istiod's code takes its flags when a process starts.
const compiler = "MIZZEN_TEST_COMPILE"

func TestMain(m *testing.M) {
	if os.Getenv(compiler) != "" {
		if err := compileInput(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// entryAddresses begin the addresses of the scenarios' WorkloadEntries. They are
// the same on both sides, and the live one has no pod for them.
const entryAddresses = "127.79."

// compiled is what objects make of a mesh.
type compiled struct {
	// Proxies have the resources of each, by the name of its workload and of the
	// resource, as an index of Texts: proxies have much in common.
	Proxies map[string]map[string]int
	Texts   []string
	// Rejected are the objects that istiod would ignore, and why.
	Rejected []string
}

// add adds the resources of a proxy; index has the texts that are there.
func (c *compiled) add(proxy string, r resources, index map[string]int) {
	c.Proxies[proxy] = map[string]int{}
	for name, text := range r {
		i, known := index[text]
		if !known {
			i = len(c.Texts)
			index[text] = i
			c.Texts = append(c.Texts, text)
		}
		c.Proxies[proxy][name] = i
	}
}

// of returns the resources of a workload's proxy.
func (c *compiled) of(proxy string) resources {
	r := resources{}
	for name, i := range c.Proxies[proxy] {
		r[name] = c.Texts[i]
	}
	return r
}

// toCompile is what the process that compiles gets.
type toCompile struct {
	Objects []worker.Object
	Proxies map[string]bool
}

// compileOffline compiles objects, for some of the proxies, in a process with the
// flags of the istiod among them.
func compileOffline(t *testing.T, objects []mizzen.Object, proxies map[string]bool) compiled {
	t.Helper()
	sent := worker.Send(objects)
	input, err := json.Marshal(toCompile{sent, proxies})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = []string{compiler + "=1"}
	for name, value := range (worker.Job{Both: sent}).Flags() {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.Stdin = strings.NewReader(string(input))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("compile: %v\n%s", err, stderr.String())
	}
	var c compiled
	if err := json.Unmarshal(out, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

func compileInput(in io.Reader, out io.Writer) error {
	for _, scope := range log.Scopes() {
		scope.SetOutputLevel(log.NoneLevel)
	}
	os.Stdout = os.Stderr // what a library prints is no part of the answer
	var input toCompile
	if err := json.NewDecoder(in).Decode(&input); err != nil {
		return err
	}
	var objects []mizzen.Object
	for _, o := range input.Objects {
		objects = append(objects, mizzen.Object{Unstructured: &unstructured.Unstructured{Object: o.Content}})
	}
	mesh, err := compile.Compile(context.Background(), objects, compile.Options{})
	if err != nil {
		return err
	}
	f := form{}
	for _, w := range mesh.Workloads {
		if !strings.HasPrefix(w.Address, entryAddresses) {
			f[w.Address] = w.Name
		}
	}
	c, index := compiled{Proxies: map[string]map[string]int{}}, map[string]int{}
	for _, p := range mesh.Proxies {
		if !input.Proxies[p.Name] {
			continue
		}
		r := resources{}
		v := p.View()
		for _, l := range v.Outbound {
			r.add(f, l)
		}
		for _, l := range v.Inbound {
			r.add(f, l)
		}
		for _, x := range v.Routes {
			r.add(f, x)
		}
		for _, x := range v.Clusters {
			r.add(f, x)
		}
		for _, x := range v.Endpoints {
			r.add(f, x)
		}
		c.add(p.Name, r, index)
	}
	for _, r := range mesh.Rejected {
		c.Rejected = append(c.Rejected, r.Ref.String()+": "+r.Reason)
	}
	return json.NewEncoder(out).Encode(c)
}
