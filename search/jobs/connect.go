package jobs

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
)

// Connection says how to reach a broker.
type Connection struct {
	// URL is the broker's, such as nats://10.0.0.5:4222; several may be joined
	// by commas. Credentials may stand in it.
	URL string
	// User and Password, or Token, or the files Creds (JWT and seed) or NKey
	// (seed) prove who this is. All are optional.
	User, Password, Token, Creds, NKey string
	// CA is a file with the certificates to trust, Cert and Key are the
	// client's own. All are optional.
	CA, Cert, Key string
	// Name is shown in the broker's list of connections.
	Name string
	// Wait is how long to try at the start; 0 means one attempt.
	Wait time.Duration
	// Ping is the time after which a silent connection is asked for life, and
	// given up at the second missing answer; 0 means 10 s.
	Ping time.Duration
}

const (
	connectTimeout = 5 * time.Second
	mostBackoff    = 10 * time.Second
)

// Validate names a URL that cannot be a broker's, without the credentials in it.
func (c Connection) Validate() error {
	for _, text := range strings.Split(c.URL, ",") {
		whole := strings.TrimSpace(text)
		if !strings.Contains(whole, "://") {
			whole = "nats://" + whole
		}
		u, err := url.Parse(whole)
		var inner *url.Error
		switch {
		case errors.As(err, &inner):
			err = inner.Err
		case !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme):
			err = fmt.Errorf("no broker speaks %s", u.Scheme)
		case u.Hostname() == "":
			err = errors.New("it has no host")
		}
		if err != nil {
			return fmt.Errorf("broker's URL %q: %w: want nats://HOST:PORT or tls://HOST:PORT, several joined by commas", redacted(text), err)
		}
	}
	return nil
}

// Connect connects to the broker. A connection that breaks later is made again
// for as long as it takes; what cannot be reached now is an error that says
// what to check.
func (c Connection) Connect(ctx context.Context, log *zap.Logger) (*nats.Conn, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	options, err := c.options(log)
	if err != nil {
		return nil, err
	}
	for begin, try := time.Now(), 0; ; try++ {
		nc, err := nats.Connect(c.URL, options...)
		if err == nil {
			return nc, nil
		}
		err = c.explain(err)
		if time.Since(begin) >= c.Wait || refused(err) {
			return nil, err
		}
		if try == 0 {
			log.Warn("the broker does not answer yet", zap.Error(err), zap.Duration("trying_for", c.Wait))
		}
		if err := sleep(ctx, backoff(try)); err != nil {
			return nil, err
		}
	}
}

func (c Connection) options(log *zap.Logger) ([]nats.Option, error) {
	ping := c.Ping
	if ping == 0 {
		ping = 10 * time.Second
	}
	o := []nats.Option{
		nats.Name(c.Name), nats.Timeout(connectTimeout), nats.PingInterval(ping), nats.MaxPingsOutstanding(1),
		nats.MaxReconnects(-1), nats.CustomReconnectDelay(backoff),
		nats.ReconnectBufSize(-1), // what cannot be sent is an error at once, and tried again by us
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("the connection to the broker broke; trying again", zap.Error(err))
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			log.Info("connected to the broker again", zap.String("url", nc.ConnectedUrlRedacted()))
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { log.Debug("broker", zap.Error(err)) }),
	}
	credentials, err := c.credentials()
	return append(o, credentials...), err
}

// credentials are the options for what proves who this is, and for TLS.
func (c Connection) credentials() ([]nats.Option, error) {
	var o []nats.Option
	if (c.Cert == "") != (c.Key == "") {
		return nil, errors.New("broker: a client certificate needs its key, and a key its certificate")
	}
	if c.User != "" {
		o = append(o, nats.UserInfo(c.User, c.Password))
	}
	if c.Token != "" {
		o = append(o, nats.Token(c.Token))
	}
	if c.Creds != "" {
		o = append(o, nats.UserCredentials(c.Creds))
	}
	if c.NKey != "" {
		option, err := nats.NkeyOptionFromSeed(c.NKey)
		if err != nil {
			return nil, fmt.Errorf("broker: nkey seed %s: %w", c.NKey, err)
		}
		o = append(o, option)
	}
	if c.CA != "" {
		o = append(o, nats.RootCAs(c.CA))
	}
	if c.Cert != "" {
		o = append(o, nats.ClientCert(c.Cert, c.Key))
	}
	return o, nil
}

// explain says what to check when the broker cannot be reached.
func (c Connection) explain(err error) error {
	hint := "is it running (nats-server -js, or evopose search --listen), is the address right, and does a firewall let the port through?"
	switch {
	case refused(err):
		hint = "check the credentials: --nats-user with EVOPOSE_NATS_PASSWORD, EVOPOSE_NATS_TOKEN, --nats-creds or --nats-nkey"
	case strings.Contains(err.Error(), "tls") || strings.Contains(err.Error(), "x509"):
		hint = "check --nats-ca, and --nats-cert with --nats-key"
	}
	return fmt.Errorf("no connection to the broker at %s: %w; %s", redacted(c.URL), err, hint)
}

// refused reports whether the broker knows us not.
func refused(err error) bool {
	return errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) || errors.Is(err, nats.ErrAuthRevoked)
}

// redacted leaves user and password out of a URL or of several.
func redacted(urls string) string {
	all := strings.Split(urls, ",")
	for i, u := range all {
		scheme, rest, ok := strings.Cut(u, "://")
		if !ok {
			scheme, rest = "", u
		} else {
			scheme += "://"
		}
		all[i] = scheme + rest[strings.LastIndexByte(rest, '@')+1:]
	}
	return strings.Join(all, ",")
}

// backoff is the pause after a number of failed attempts: from 0.1 s to 10 s,
// each time another one so that a thousand workers do not come at once.
func backoff(attempts int) time.Duration {
	d := min(100*time.Millisecond<<min(attempts, 10), mostBackoff)
	return d/2 + rand.N(d/2)
}

// sleep waits, or returns the context's error.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
