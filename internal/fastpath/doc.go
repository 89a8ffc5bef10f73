// Package fastpath is what ntp-daemon and ntp-xdp say to each other: which requests may be answered in the network driver,
// and with what. The daemon listens on a Unix socket and decides; ntp-xdp, which alone may load programs into the kernel,
// connects and reports. docs/rules/server.md#fast-path has the rules.
//
// The daemon sends orders, ntp-xdp reports; each message is a length of four bytes, the highest first, and JSON.
package fastpath
