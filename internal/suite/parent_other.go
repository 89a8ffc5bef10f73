//go:build !linux

package suite

import "syscall"

// dieWithParent has no equivalent here: programs end by the tests' own clean-up only.
func dieWithParent() *syscall.SysProcAttr { return nil }
