//go:build race

package hostile_test

import "ntp-daemon/internal/suite"

// When these tests are built with the race detector the programs are, too.
func init() {
	suite.Race = true
	maxMemory *= raceMemory
}

// raceMemory is how much more the race detector takes.
const raceMemory = 10
