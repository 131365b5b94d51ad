//go:build unix

package ort

/*
#include <signal.h>
#include <stdlib.h>

enum { LAST = 64 };

static struct sigaction *save_handlers(void) {
	struct sigaction *saved = calloc(LAST + 1, sizeof *saved);
	for (int s = 1; saved && s <= LAST; s++) sigaction(s, NULL, &saved[s]);
	return saved;
}

// restore_handlers puts back what was replaced since, and returns how many
// that were. A signal whose handler is now Go's own was changed by os/signal
// in the meantime, and stays. SIGURG is always Go's: it preempts goroutines.
static int restore_handlers(struct sigaction *saved) {
	int n = 0;
	if (!saved) return 0;
	for (int s = 1; s <= LAST; s++) {
		struct sigaction now;
		if (s == SIGKILL || s == SIGSTOP || sigaction(s, NULL, &now)) continue;
		if (now.sa_sigaction == saved[s].sa_sigaction && now.sa_flags == saved[s].sa_flags) continue;
		if (s != SIGURG && now.sa_sigaction == saved[SIGURG].sa_sigaction) continue;
		if (!sigaction(s, &saved[s], NULL)) n++;
	}
	free(saved);
	return n;
}
*/
import "C"

// keepSignals runs f and then puts back the signal handlers that f replaced:
// the CUDA provider installs its own while a session is created and first run,
// and SIGTERM would then kill the process instead of reaching os/signal. It
// returns the number of handlers put back.
func keepSignals(f func()) int {
	saved := C.save_handlers()
	f()
	return int(C.restore_handlers(saved))
}
