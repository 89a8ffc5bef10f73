// Package faultnet is a hostile network for tests: a router between two network namespaces that loses, delays,
// doubles, reorders, damages, limits and rewrites packets, and scripted peers that behave as no honest peer would.
// Only _test.go files import it.
//
// The router keeps addresses and ports, so sockets and ICMP behave as on a real path. Every decision about a packet
// comes from a PCG of its own direction and far address, and each packet takes the same number of draws whatever the
// settings are: the n-th packet of a flow meets the same fate in every run with the same seed. A failing test prints
// the seed; FAULTNET_SEED repeats it.
//
// It must never be linked into a program, and it touches nothing outside the namespaces that it is given.
package faultnet
