package cmd

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"go.yaml.in/yaml/v3"
)

// resource is what these tests look at of a file for a cluster.
type resource struct {
	Kind string
	Data map[string]string // of a ConfigMap
	Spec struct {
		Selector struct {
			MatchLabels map[string]string `yaml:"matchLabels"`
		}
		Template struct {
			Metadata struct{ Labels map[string]string }
			Spec     struct{ Containers []struct{ Args []string } }
		}
	}
}

func readResources(t *testing.T, file string) map[string]resource {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "deploy", "kubernetes", file))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]resource{}
	for d := yaml.NewDecoder(bytes.NewReader(data)); ; {
		var r resource
		err := d.Decode(&r)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all[r.Kind] = r
	}
}

// check requires that a workload's selector finds its pods.
func (r resource) check(t *testing.T) {
	t.Helper()
	for k, v := range r.Spec.Selector.MatchLabels {
		if r.Spec.Template.Metadata.Labels[k] != v {
			t.Errorf("%s: label %s is %q in the pods, %q in the selector", r.Kind, k, r.Spec.Template.Metadata.Labels[k], v)
		}
	}
	if len(r.Spec.Selector.MatchLabels) == 0 || len(r.Spec.Template.Spec.Containers) != 1 {
		t.Errorf("%s: %+v", r.Kind, r)
	}
}

// The flags of the cluster's workers are ones that this program has.
func TestKubernetesWorkers(t *testing.T) {
	r := readResources(t, "workers.yaml")["Deployment"]
	r.check(t)
	args := r.Spec.Template.Spec.Containers[0].Args
	c := newWorker()
	c.ResetFlags()
	var f workerFlags
	f.register(c)
	if err := c.ParseFlags(args[1:]); err != nil || args[0] != "worker" {
		t.Fatalf("%v: %v", args, err)
	}
	if _, err := f.complete(); err != nil || f.broker.URL != "nats://evopose-nats:4222" || f.cache != "/cache" || f.name != "$(POD_NAME)" || !f.log.LogJSON {
		t.Errorf("%+v, error %v", f, err)
	}
}

// The broker's configuration is one that NATS takes, with the token of the
// secret, which may look like a number.
func TestKubernetesBroker(t *testing.T) {
	all := readResources(t, "nats.yaml")
	all["StatefulSet"].check(t)
	path := filepath.Join(t.TempDir(), "nats.conf")
	if err := os.WriteFile(path, []byte(all["ConfigMap"].Data["nats.conf"]), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("POD_NAME", "evopose-nats-0")
	for _, token := range []string{"e5" + strings.Repeat("0123456789", 4), "12e3" + strings.Repeat("ab", 22)} {
		t.Setenv("NATS_TOKEN", token)
		o, err := server.ProcessConfigFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if o.Authorization != token || o.Port != 4222 || o.HTTPPort != 8222 || !o.JetStream || o.StoreDir != "/data" || o.JetStreamMaxStore != 45<<30 || o.ServerName != "evopose-nats-0" {
			t.Errorf("%+v", o)
		}
	}
}
