package jobs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/gofrs/flock"
	"github.com/google/renameio/v2"
	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/zap"
)

// BrokerOptions say how the broker in this process runs.
type BrokerOptions struct {
	// Listen is the address for workers; empty means a free port of
	// 127.0.0.1, the same as last time if it is still free.
	Listen string
	// User and Password, or Token, are asked of those who connect, unless empty.
	User, Password, Token string
	// Cert and Key are files; with them the broker speaks TLS only. With CA it
	// asks the workers for certificates too.
	Cert, Key, CA string
	// MaxStore bounds the bytes on disk; 0 means what the disk has.
	MaxStore int64
	// Log gets the server's warnings and errors; nil means nowhere.
	Log *zap.Logger
}

// Broker is a NATS server with JetStream in this process.
type Broker struct {
	server *server.Server
	lock   *flock.Flock
	opts   BrokerOptions
}

// Embedded starts a broker that keeps everything in the directory. Started
// again on it, even after it was killed, it goes on where it was.
func Embedded(dir string, o BrokerOptions) (*Broker, error) {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	lock := flock.New(filepath.Join(dir, "broker.lock"))
	switch ok, err := lock.TryLock(); {
	case err != nil:
		return nil, fmt.Errorf("broker: %w", err)
	case !ok:
		return nil, fmt.Errorf("broker: %s is in use by another process: end that search first, or choose another folder", dir)
	}
	b := &Broker{lock: lock, opts: o}
	if err := b.start(dir); err != nil {
		return nil, errors.Join(err, lock.Unlock())
	}
	return b, nil
}

func (b *Broker) start(dir string) error {
	listen, err := chooseAddress(dir, b.opts.Listen)
	if err != nil {
		return err
	}
	options, err := b.opts.server(dir, listen)
	if err != nil {
		return err
	}
	if b.server, err = server.NewServer(options); err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	log := &brokerLog{log: b.opts.Log.Named("broker").Sugar()}
	b.server.SetLoggerV2(log, false, false, false)
	b.server.Start()
	if !b.ready(log) {
		b.server.Shutdown()
		b.server.WaitForShutdown()
		return fmt.Errorf("broker: did not start on %s in %s: %v", listen, dir, log.last())
	}
	if b.opts.Listen != "" {
		return nil
	}
	return saveAddress(dir, b.server.Addr().String())
}

// ready waits until the server takes connections; false if it will not.
func (b *Broker) ready(log *brokerLog) bool {
	for begin := time.Now(); time.Since(begin) < startTimeout && !log.failed(); {
		if b.server.ReadyForConnections(100 * time.Millisecond) {
			return b.server.JetStreamEnabled()
		}
	}
	return false
}

// startTimeout bounds the start of a broker, which reads what it has on disk.
const startTimeout = 2 * time.Minute

func (o BrokerOptions) server(dir, listen string) (*server.Options, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return nil, fmt.Errorf("broker: listen address %q: want HOST:PORT, such as 0.0.0.0:4222", listen)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("broker: listen address %q: want a port from 0 to 65535", listen)
	}
	s := &server.Options{
		ServerName: "evopose", Host: host, Port: int(number), NoSigs: true, NoSystemAccount: true,
		JetStream: true, StoreDir: filepath.Join(dir, "broker"), JetStreamMaxStore: o.MaxStore,
		SyncInterval: 10 * time.Second, // a killed process loses nothing; a power cut at most this
		Username:     o.User, Password: o.Password, Authorization: o.Token,
	}
	if number == 0 {
		s.Port = server.RANDOM_PORT
	}
	if o.Cert == "" && o.Key == "" {
		return s, nil
	}
	s.TLS, s.TLSTimeout = true, 5
	s.TLSConfig, err = server.GenTLSConfig(&server.TLSConfigOpts{CertFile: o.Cert, KeyFile: o.Key, CaFile: o.CA, Verify: o.CA != ""})
	if err != nil {
		return nil, fmt.Errorf("broker: TLS: %w", err)
	}
	return s, nil
}

// URL is what workers connect to, without credentials.
func (b *Broker) URL() string {
	scheme := "nats"
	if b.opts.Cert != "" {
		scheme = "tls"
	}
	addr := b.server.Addr().(*net.TCPAddr)
	host := addr.IP.String()
	if addr.IP.IsUnspecified() {
		host = outwardHost()
	}
	return scheme + "://" + net.JoinHostPort(host, strconv.Itoa(addr.Port))
}

// Open reports whether others than this machine may connect without any
// credentials.
func (b *Broker) Open() bool {
	o := b.opts
	return !b.server.Addr().(*net.TCPAddr).IP.IsLoopback() && o.User == "" && o.Token == "" && o.CA == ""
}

// Connection is how this process connects to its broker.
func (b *Broker) Connection() Connection {
	o := b.opts
	c := Connection{URL: b.URL(), User: o.User, Password: o.Password, Token: o.Token, CA: o.CA}
	if o.CA != "" {
		c.Cert, c.Key = o.Cert, o.Key
	}
	return c
}

// Close stops the broker; what it holds stays on disk.
func (b *Broker) Close() error {
	b.server.Shutdown()
	b.server.WaitForShutdown()
	return b.lock.Unlock()
}

// outwardHost is this machine's name for others, or localhost.
func outwardHost() string {
	if name, err := os.Hostname(); err == nil {
		if _, err := net.LookupHost(name); err == nil { //nolint:noctx // the machine's own name
			return name
		}
	}
	return "127.0.0.1"
}

const addressFile = "broker.json"

type savedAddress struct {
	Listen string `json:"listen"`
}

// chooseAddress is what to listen on: what was asked for, or else the address
// of last time, so that workers find the broker again, or else any free port.
func chooseAddress(dir, listen string) (string, error) {
	if listen != "" {
		return listen, nil
	}
	const anyPort = "127.0.0.1:0"
	data, err := os.ReadFile(filepath.Join(dir, addressFile))
	if errors.Is(err, fs.ErrNotExist) {
		return anyPort, nil
	}
	if err != nil {
		return "", fmt.Errorf("broker: %w", err)
	}
	var last savedAddress
	if json.Unmarshal(data, &last) != nil || !free(last.Listen) {
		return anyPort, nil //nolint:nilerr // a damaged file says nothing
	}
	return last.Listen, nil
}

func free(listen string) bool {
	l, err := net.Listen("tcp", listen) //nolint:noctx // a local address
	if err != nil {
		return false
	}
	return l.Close() == nil
}

func saveAddress(dir, listen string) error {
	data, err := json.Marshal(savedAddress{listen})
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(filepath.Join(dir, addressFile), data, 0o600); err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	return nil
}
