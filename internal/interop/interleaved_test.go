package interop_test

import (
	"math"
	"math/bits"
	"slices"
	"strconv"
	"testing"
	"time"

	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/suite"
)

// dataInterleaved is the column of `chronyc ntpdata` that says whether the latest reply was an interleaved one.
const dataInterleaved = 26

// TestInterop_IL04_ChronyInterleavesWithUs: chronyd's option xleave gets interleaved replies of our server.
func TestInterop_IL04_ChronyInterleavesWithUs(t *testing.T) {
	for _, nts := range []bool{false, true} {
		t.Run(modeName(nts), func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			p := l.startServer()
			option := ""
			if nts {
				option = " nts"
			}
			c := l.startChronyOfSid("server {oursName} xleave iburst minpoll 0 maxpoll 0" + option + "\n")
			c.Until("a selected source with interleaved replies", func() bool {
				reach, err := strconv.ParseUint(c.field(sourceReach, "sources"), 8, 16)
				return err == nil && bits.TrailingZeros64(^reach) == 8 && c.field(sourceState, "sources") == "*" && c.field(dataInterleaved, "ntpdata") == "Yes"
			})
			d := c.report("ntpdata")[0]
			if d[dataTests] != "111" || d[dataTests+1] != "111" || (d[dataAuthenticated] == "Yes") != nts {
				t.Errorf("chronyc ntpdata: %q", d)
			}
			s := p.WaitSnapshot(l.path("server.sock"), "interleaved answers", func(s *observe.Snapshot) bool { return s.Servers[0].Interleaved >= 6 })
			if s.Servers[0].Interleaved+2 > s.Servers[0].Stats.Accepted { // the first two are basic ones
				t.Errorf("%+v", s.Servers[0])
			}
			t.Logf("%d of %d answers were interleaved; chronyd measures %s s", s.Servers[0].Interleaved, s.Servers[0].Stats.Accepted, d[dataOffset])
			mode := modeName(nts)
			if nts {
				mode = "NTS, AEAD 30" // what they agree on by themselves
			}
			done(t, row{1, "chronyd (sid)", "client of ntp-daemon", mode, "option xleave: interleaved, all its tests passed"})
		})
	}
}

// TestInterop_IL04_WeInterleaveWithChrony: our client asks chronyd's server, told to or by itself.
func TestInterop_IL04_WeInterleaveWithChrony(t *testing.T) {
	for _, key := range []string{"true", `"auto"`} {
		for _, nts := range []bool{false, true} {
			t.Run(key+", "+modeName(nts), func(t *testing.T) {
				t.Parallel()
				l := newLab(t)
				l.startChronyOfSid(chronyServer)
				p, _ := l.interleavingClient(nts, key)
				s := p.WaitSnapshot(l.path("client.sock"), "interleaved replies", func(s *observe.Snapshot) bool {
					return len(s.Sources) == 1 && s.Sources[0].Interleaved && s.Sources[0].InterleavedReplies >= 8 && s.Sources[0].Reach == 0xff
				})
				if math.Abs(s.Suite.VirtualTruth.Offset) > smallOffset || s.Sources[0].Role != observe.RolePeer {
					t.Errorf("%+v, clock %v s off", s.Sources[0], s.Suite.VirtualTruth.Offset)
				}
				done(t, row{2, "chronyd (sid)", "server of ntp-daemon", modeName(nts), "interleaved = " + key + ": interleaved replies, eight polls in a row answered"})
			})
		}
	}
}

// interleavingClient starts our client with that value of interleaved.
func (l *lab) interleavingClient(nts bool, key string) (*suite.Proc, string) {
	l.t.Helper()
	source := "[[source]]\nmode = \"server\"\naddress = \"{peerName}\"\n"
	if nts {
		source = "[[source]]\nmode = \"nts\"\naddress = \"{peerName}\"\ncertificate-authority = \"{ca}\"\n"
	}
	path := l.file("client.toml", source+"interleaved = "+key+"\n"+clientConfig)
	p := l.ours.Start(suite.Program(l.t, "ntp-daemon"), "-c", path)
	p.Name = "our client"
	return p, path
}

// TestInterop_Interleaved_GainInALAN follows one chronyd over NTS, once without and once with interleaved mode, both on the same
// machine's clock, and prints how far our virtual clock was off: without, half of what sealing and sending takes the server is in it.
func TestInterop_Interleaved_GainInALAN(t *testing.T) {
	const looks = 40
	var median [2]float64
	for i, key := range []string{"false", "true"} {
		l := newLab(t)
		l.startChronyOfSid(chronyServer)
		p, _ := l.interleavingClient(true, key)
		p.WaitSnapshot(l.path("client.sock"), "a settled client", func(s *observe.Snapshot) bool {
			return len(s.Sources) == 1 && s.Sources[0].Reach == 0xff && s.Sources[0].Interleaved == (key == "true") && math.Abs(s.Suite.VirtualTruth.Offset) < 1e-4
		})
		var off []float64
		for range looks {
			time.Sleep(500 * time.Millisecond) // the polls are a second apart
			if s := suite.Snapshot(l.path("client.sock")); s != nil {
				off = append(off, s.Suite.VirtualTruth.Offset)
			}
		}
		slices.Sort(off)
		median[i] = off[len(off)/2]
		t.Logf("interleaved = %s: our clock off by %+.2f µs in the median, %+.2f to %+.2f µs", key, 1e6*median[i], 1e6*off[0], 1e6*off[len(off)-1])
		p.Stop()
	}
	// The gain itself is held in the simulator (IL01): a host that lets its guests wait for their processors adds more than it.
	if math.Abs(median[1]) > smallOffset {
		t.Errorf("off by %.2f µs interleaved, %.2f µs without", 1e6*median[1], 1e6*median[0])
	}
}
