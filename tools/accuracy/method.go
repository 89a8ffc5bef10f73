package main

// method says how it was measured.
func (r *report) method() {
	r.add(`
## How it was measured

%[1]s
make accuracy                                       # everything: results, this page and the pictures
go run ./tools/accuracy -scenario 'A1_.*' -seeds 3  # a scenario, on the terminal
go run ./tools/accuracy -file mine.json             # scenarios of one's own, in the same format
%[1]s

- Scenarios are text ([scenarios.json](../internal/sim/testdata/scenarios.json), [unlisted.json](../internal/sim/testdata/unlisted.json)): expressions for the oscillator's frequency, evaluated once per second, and for each packet's delay,
  in the language of clknetsim, the simulator of chrony's own test suite.
- chrony 4.9 (git 8f2db83) ran there with its kernel timestamps, 3 seeds or more, and the same statistics: the error at every whole second after the warm-up. Its random numbers are others than ours, so that
  two runs are alike in kind only; RMS values of 300 000 s scatter by some percent, those of hold-over by 30 %%.
- Ours: the production code of source, system, timekeeper, algorithm, server and clock steering in %[2]sinternal/sim%[2]s, timestamps exact as in clknetsim's default, the kernel's frequency resolution of 2⁻¹⁶ ppm. Nothing
  in the daemon knows that it is simulated. The same seed gives the same bytes.
- P6 is a fixed interval of 64 s (chrony adds up to 2 %%, which is why it sends 6188 requests and we send 6250 or less), PD 64 to 1024 s, chrony's default; our default is 16 to 1024 s.
- The oscillator is a random walk of frequency: w = 1e-9 means that the frequency changes by 1e-9 × √t within t seconds, which is a quartz in a quiet room.
`, "```", "`")
}
