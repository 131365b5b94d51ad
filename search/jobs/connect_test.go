package jobs

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/zap"

	"github.com/evopose/evopose/search"
	"github.com/evopose/evopose/search/jobs/jobstest"
)

func connect(c Connection) error {
	nc, err := c.Connect(context.Background(), zap.NewNop())
	if err == nil {
		nc.Close()
	}
	return err
}

// Who cannot connect is told where to, why and what to check.
func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	w := Worker{Connection: Connection{URL: "nats://bob:secret@" + address, Wait: 300 * time.Millisecond},
		Factory: func(context.Context, Setup) (search.Evaluator, error) { return jobstest.Evaluator{}, nil }}
	err = w.Work(t.Context())
	if err == nil || !strings.Contains(err.Error(), "nats://"+address) || !strings.Contains(err.Error(), "is it running") || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	w.Connection.Wait = time.Hour
	if err := w.Work(ctx); err != nil {
		t.Errorf("interrupted: %v", err)
	}
}

func TestRedacted(t *testing.T) {
	for in, want := range map[string]string{"nats://a:b@h:1": "nats://h:1", "h:1": "h:1", "nats://t@h,tls://u:p@g:2": "nats://h,tls://g:2"} {
		if got := redacted(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

// Each kind of credentials lets in who has it, and no other.
func TestCredentials(t *testing.T) {
	for name, o := range map[string]BrokerOptions{"password": {User: "ann", Password: "pw"}, "token": {Token: "tk"}} {
		t.Run(name, func(t *testing.T) {
			b := startBroker(t, t.TempDir(), o)
			open(t, b.Connection(), quick("secret"))
			for _, c := range []Connection{{URL: b.URL()}, {URL: b.URL(), User: "ann", Password: "no"}, {URL: b.URL(), Token: "no"}} {
				if err := connect(c); err == nil || !strings.Contains(err.Error(), "check the credentials") {
					t.Errorf("%+v: error %v", c, err)
				}
			}
		})
	}
	missing := Connection{URL: "nats://127.0.0.1:1", NKey: filepath.Join(t.TempDir(), "none")}
	if err := connect(missing); err == nil || !strings.Contains(err.Error(), "nkey seed") {
		t.Errorf("no seed: %v", err)
	}
	if err := connect(Connection{URL: "nats://127.0.0.1:1", Cert: "c.pem"}); err == nil || !strings.Contains(err.Error(), "needs its key") {
		t.Errorf("no key: %v", err)
	}
}

// certificate writes a certificate of 127.0.0.1 that signs itself, for server
// and client.
func certificate(t *testing.T, dir, name string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	write := func(file, kind string, data []byte) string {
		path := filepath.Join(dir, file)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write(name+".pem", "CERTIFICATE", der), write(name+".key", "EC PRIVATE KEY", secret)
}

// With certificates on both sides the search runs, and others stay outside.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	cert, key := certificate(t, dir, "broker")
	b := startBroker(t, dir, BrokerOptions{Cert: cert, Key: key, CA: cert})
	if !strings.HasPrefix(b.URL(), "tls://") {
		t.Errorf("URL %s", b.URL())
	}
	c := open(t, b.Connection(), quick("tls"))
	startWorker(t, b.Connection(), jobstest.Evaluator{})
	jobs := generation(2)
	got, wait := evaluate(t, c, jobs)
	wait()
	got.check(t, jobs)
	for name, c := range map[string]Connection{"no CA": {URL: b.URL()}, "no certificate": {URL: b.URL(), CA: cert}} {
		if err := connect(c); err == nil || !strings.Contains(err.Error(), "--nats-ca") {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if _, err := Embedded(t.TempDir(), BrokerOptions{Cert: cert, Key: filepath.Join(dir, "none")}); err == nil || !strings.Contains(err.Error(), "TLS") {
		t.Errorf("no key: %v", err)
	}
}

// A broker without JetStream is told from one that is not there.
func TestNoJetStream(t *testing.T) {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	defer s.WaitForShutdown()
	defer s.Shutdown()
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("not ready")
	}
	if _, err := Open(t.Context(), Connection{URL: s.ClientURL()}, quick("none"), Options{}); err == nil || !strings.Contains(err.Error(), "with JetStream") {
		t.Errorf("coordinator: %v", err)
	}
	if err := (Worker{Connection: Connection{URL: s.ClientURL()}}).Work(t.Context()); err == nil || !strings.Contains(err.Error(), "with JetStream") {
		t.Errorf("worker: %v", err)
	}
}

func TestBadListen(t *testing.T) {
	b := startBroker(t, t.TempDir(), BrokerOptions{})
	for listen, want := range map[string]string{"4222": "want HOST:PORT", "h:http": "want a port", b.server.Addr().String(): "address already in use"} {
		if _, err := Embedded(t.TempDir(), BrokerOptions{Listen: listen}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", listen, err, want)
		}
	}
	if b.Open() {
		t.Error("a loopback broker is open to others")
	}
	wide := startBroker(t, t.TempDir(), BrokerOptions{Listen: "0.0.0.0:0"})
	if !wide.Open() || strings.Contains(wide.URL(), "0.0.0.0") {
		t.Errorf("open %v, URL %s", wide.Open(), wide.URL())
	}
}
