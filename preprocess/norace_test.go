//go:build !race

package preprocess

// raceDetector reports whether the tests run under the race detector.
const raceDetector = false
