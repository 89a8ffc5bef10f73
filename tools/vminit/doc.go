// vminit is the first and only program of the virtual machines of internal/vmtest (`make vmtest`). It prepares the
// guest, plays the role that the kernel's command line names (vmtest.role=server or client), and writes what it finds
// to the serial console:
//
//	VMTEST name PASS|FAIL text
//	VMNUM name value unit
//	VMTEST end PASS|FAIL text
//
// It may do to its clock what is forbidden on the machine that runs the tests.
package main
