package ort

// keepSignals runs f; Windows has no signal handlers that a library replaces.
func keepSignals(f func()) int {
	f()
	return 0
}
