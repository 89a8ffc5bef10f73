//go:build linux && amd64

package main

import "time"

// The two machines of the comparison with a server that is detuned: both run on the host's oscillator, so the server's
// clock is made to run 80 ppm slow, half a second off, and is the truth that nobody steers.
const (
	detunedPPM    = -80
	detunedOffset = 500 * time.Millisecond
)

const detunedServer = serverConfig + "clock-control = false\n"

// detunedConfig polls every 2 s, so that three minutes are enough to learn a frequency to 1 ppm, one sigma, from replies whose
// offsets scatter by 0.4 ms; all else is the default.
const detunedConfig = clientHead + serverAddress + `"
poll-interval-limits = { min = 1, max = 1 }
initial-poll-interval = 1
` + oneAgrees

// serveDetuned makes the clock wrong and serves it.
func serveDetuned() error {
	if err := setKernelPPM(detunedPPM); err != nil {
		return err
	}
	if err := stepBy(detunedOffset); err != nil {
		return err
	}
	return serveWith(detunedServer)
}

// followDetuned waits for the host, which starts the daemon through the agent and compares the two clocks.
func (t *trial) followDetuned() {
	if !t.guard("network", waitForServer) {
		return
	}
	say("VMTEST ready PASS waits for the host")
	select {} // the host ends the machine
}
