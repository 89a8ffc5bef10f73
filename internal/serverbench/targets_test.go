//go:build linux && !race

package serverbench_test

// target is what we hold ourselves to: our figure divided by another server's, in the same round.
type target struct {
	kind, pattern string
	latency       bool // the 99th percentile of how long answers take; otherwise CPU time for each
	against       int  // server
	most          float64
}

// targets of the socket path and of key exchange.
var targets = []target{
	{"plain", saturation, false, limit, 1.03},
	{"plain", saturation, false, chrony, 1},
	{"plain", saturation, false, ntpdRS, 1},
	{"plain", bursts, false, limit, 1.05},
	{"plain", bursts, false, chrony, 1},
	{"plain", bursts, false, ntpdRS, 1},
	{"plain", bursts, true, limit, 1.2},
	{"plain", spaced, false, chrony, 1},
	{"plain", spaced, true, chrony, 1},
	{"NTS, AEAD 15", saturation, false, chrony, 0.80},
	{"NTS, AEAD 15", bursts, false, chrony, 0.85},
	{"NTS, AEAD 15", bursts, true, chrony, 1.2},
	{"key exchange, default", busy, false, chrony, 1.1},
	{"key exchange, X25519", busy, false, chrony, 0.9},
	{"key exchange, X25519", busy, false, ntpdRS, 1},
}

// leastInterleaved is the share of the answers per second at saturation that is left in interleaved mode.
const leastInterleaved = 0.8
