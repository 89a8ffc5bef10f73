package suite

import "syscall"

// dieWithTest ends a program with the test process, however that ends.
func dieWithTest() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
