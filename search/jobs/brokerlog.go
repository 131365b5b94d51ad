package jobs

import (
	"fmt"
	"sync"

	"go.uber.org/zap"
)

// brokerLog passes the server's log on and remembers the last error.
type brokerLog struct {
	log   *zap.SugaredLogger
	mu    sync.Mutex
	error string
	fatal bool
}

func (l *brokerLog) Noticef(format string, v ...any) { l.log.Debugf(format, v...) }
func (l *brokerLog) Debugf(format string, v ...any)  { l.log.Debugf(format, v...) }
func (l *brokerLog) Tracef(format string, v ...any)  { l.log.Debugf(format, v...) }
func (l *brokerLog) Warnf(format string, v ...any)   { l.log.Debugf(format, v...) }

func (l *brokerLog) Errorf(format string, v ...any) {
	l.keep(format, v)
	l.log.Warnf(format, v...)
}

// Fatalf does not end the process: Embedded sees that the server is not ready.
func (l *brokerLog) Fatalf(format string, v ...any) {
	l.keep(format, v)
	l.log.Errorf(format, v...)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fatal = true
}

func (l *brokerLog) failed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fatal
}

func (l *brokerLog) keep(format string, v []any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.error = fmt.Sprintf(format, v...)
}

func (l *brokerLog) last() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.error == "" {
		return "no reason given"
	}
	return l.error
}
