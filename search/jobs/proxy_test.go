package jobs

import (
	"io"
	"net"
	"sync"
	"testing"
)

// proxy passes TCP connections on to a broker, until told otherwise.
type proxy struct {
	listener net.Listener
	target   string
	mu       sync.Mutex
	up       *sync.Cond
	hole     bool // what is sent arrives only when the hole is closed
	refuse   bool
	open     map[net.Conn]bool
	running  sync.WaitGroup
}

func startProxy(t *testing.T, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, target: target, open: map[net.Conn]bool{}}
	p.up = sync.NewCond(&p.mu)
	p.running.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close()
		p.set(false, false)
		p.drop()
		p.running.Wait()
	})
	return p
}

func (p *proxy) url() string { return "nats://" + p.listener.Addr().String() }

// set makes the proxy silent, or makes it refuse connections, or neither.
func (p *proxy) set(hole, refuse bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hole, p.refuse = hole, refuse
	p.up.Broadcast()
}

// drop breaks all connections.
func (p *proxy) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		_ = c.Close()
	}
}

func (p *proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		refuse := p.refuse
		p.mu.Unlock()
		to, err := net.Dial("tcp", p.target)
		if err != nil || refuse {
			_ = c.Close()
			if err == nil {
				_ = to.Close()
			}
			continue
		}
		p.running.Go(func() { p.pass(c, to) })
		p.running.Go(func() { p.pass(to, c) })
	}
}

func (p *proxy) pass(from, to net.Conn) {
	p.mu.Lock()
	p.open[from] = true
	p.mu.Unlock()
	_, _ = io.Copy(p.through(to), from)
	_, _ = from.Close(), to.Close()
	p.mu.Lock()
	delete(p.open, from)
	p.mu.Unlock()
}

// through is a writer that blocks while the proxy is silent.
func (p *proxy) through(w io.Writer) io.Writer { return writer{p, w} }

type writer struct {
	p *proxy
	w io.Writer
}

func (w writer) Write(data []byte) (int, error) {
	w.p.mu.Lock()
	for w.p.hole {
		w.p.up.Wait()
	}
	w.p.mu.Unlock()
	return w.w.Write(data)
}
