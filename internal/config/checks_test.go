package config

import (
	"regexp"
	"testing"
)

// TestChecks: each row has a name of its own, an exit code exactly if something ends, and says what runs if something does.
// What is wrong with the text ends both programs; what is about this machine never ends the daemon.
func TestChecks(t *testing.T) {
	names, word := map[string]bool{}, regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`)
	for i, c := range Checks() {
		if names[c.Name] || !word.MatchString(c.Name) {
			t.Errorf("%d: the name %q is used twice or is none", i, c.Name)
		}
		names[c.Name] = true
		ends := c.Daemon == Ends || c.Pool == Ends
		if ends != (c.Exit != 0) {
			t.Errorf("%s: ends %v, exit code %d", c.Name, ends, c.Exit)
		}
		if runs := c.Daemon == Down || c.Daemon == Told || c.Pool == Down || c.Pool == Told; runs != (c.Then != "") {
			t.Errorf("%s: %q runs", c.Name, c.Then)
		}
		switch {
		case c.Daemon == None && c.Pool == None:
			t.Errorf("%s: nobody has it", c.Name)
		// Who asks for less power than root's is not to get root's.
		case c.About == AboutMachine && c.Daemon == Ends && CheckID(i) != CheckUser:
			t.Errorf("%s: a fault of this machine takes the host's time away", c.Name)
		case c.About == AboutFile && c.Validate == 0, c.About == AboutMachine && c.Validate == 0, c.About == AboutStart && c.Validate != 0:
			t.Errorf("%s: validate ends with %d", c.Name, c.Validate)
		case c.Daemon == Ends && c.About == AboutFile && c.Validate != c.Exit:
			t.Errorf("%s: validate ends with %d, the daemon with %d", c.Name, c.Validate, c.Exit)
		}
	}
}
