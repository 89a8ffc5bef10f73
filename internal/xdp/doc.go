// Package xdp is ntp-xdp: it answers plain NTP requests in the network driver, for a running ntp-daemon that says who may be
// answered and with what (package fastpath). ntp.c is the program in the kernel; everything here keeps its maps right.
//
// The program holds for as long as this process has its link: when the process ends, however it ends, or the daemon does, all
// packets take the way to the daemon's sockets again.
package xdp
