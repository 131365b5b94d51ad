package ort

import (
	"os"
	"testing"
)

// TestMain also serves as the processes that some tests start.
func TestMain(m *testing.M) {
	switch {
	case os.Getenv("ORT_TEST_INSTALL") != "":
		os.Exit(installMain())
	case os.Getenv("ORT_TEST_LIFE") != "":
		os.Exit(lifeMain())
	}
	os.Exit(m.Run())
}
