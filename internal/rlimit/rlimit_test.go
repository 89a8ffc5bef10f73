package rlimit

import (
	"errors"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

func TestCheck_EnoughHere(t *testing.T) {
	if err := Check(runtime.NumCPU()); err != nil {
		t.Skip("the test's own limits are low: " + err.Error())
	}
}

// The Makefile cannot read a constant of Go's.
func TestEntryFlag_IsTheMakefiles(t *testing.T) {
	b, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), EntryFlag+")") {
		t.Errorf("`make build` does not link with %q", EntryFlag)
	}
}

func TestShort_IsAnErrorOfTheSystem(t *testing.T) {
	err := error(&Short{Name: "RLIMIT_X", Have: 3, Need: 4, Remedy: "raise it"})
	var errno syscall.Errno
	if !errors.As(err, &errno) || !strings.Contains(err.Error(), "RLIMIT_X leaves 3 and 4 are needed; raise it") {
		t.Error(err)
	}
}
