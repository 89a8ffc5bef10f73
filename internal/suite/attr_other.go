//go:build !linux

package suite

import "syscall"

// dieWithTest has no equivalent here; Stop ends the programs.
func dieWithTest() *syscall.SysProcAttr { return nil }
