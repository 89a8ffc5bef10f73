//go:build linux && amd64

package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// noticeLimit is row K05's.
	noticeLimit = time.Second
	// flight is the extra delay of the request that is under way when the clock is set: shorter than the polling
	// interval, so that its answer is still waited for when it comes.
	flight = 600 * time.Millisecond

	noticed = `another program stepped the clock`
)

// synchronised brings up a daemon that follows the server.
func (t *trial) synchronised() *program { return t.settle(t.follow()) }

// settle waits until a daemon follows its source.
func (t *trial) settle(p *program) *program {
	took, offset, ok := settled(monotonic(), 60*time.Second)
	ok = ok && until(20*time.Second, func() bool { s := snapshot(); return s != nil && s.Suite.Synchronized })
	t.need(ok, "ready", "offset %v after %v", offset, took)
	return p
}

// smallSteps is the first half of row K05: steps below the panic threshold are put right, with one step and not
// through a sample that was under way.
func smallSteps(t *trial) {
	p := t.synchronised()
	for _, d := range []time.Duration{100 * time.Second, -100 * time.Second} {
		name := "K05_step" + signed(d)
		mark, begin := foreignStep(t, p, name, d, true)
		checkDropped(t, name+"_in_flight_dropped", begin)
		took, offset, ok := settled(begin, 60*time.Second)
		t.need(ok, name+"_back_within_1ms", "offset %v after %v", offset, took)
		t.number("K05_recovery"+signed(d), took.Seconds(), "s")
		jumps := p.find(mark, `Jumped offset by`)
		t.check(len(jumps) == 1 && nearly(jumps[0].text, -d), name+"_one_jump_back", "%d jumps: %s", len(jumps), texts(jumps))
		checkStatus(t, name+"_status")
	}
}

// checkDropped checks that the reply which arrives after the step is not taken in: the source's last update stays what
// it was until the next request, a second after the one before the step.
func checkDropped(t *trial, name string, begin time.Duration) {
	updated := func() uint64 {
		if s := snapshot(); s != nil && len(s.Sources) == 1 {
			return s.Sources[0].LastUpdate.Timestamp
		}
		return 0
	}
	before := updated()
	time.Sleep(begin + flight + 150*time.Millisecond - monotonic())
	after := updated()
	if age := monotonic() - begin; age > 950*time.Millisecond {
		t.check(true, name, "cannot tell: the machine is too slow, %v after the step", age)
		return
	}
	t.check(before != 0 && before == after, name, "last update %x, then %x", before, after)
}

// awaitRequest waits until the daemon asks the server, which shows as a new UDP socket: each request has its own.
func awaitRequest(t *trial) {
	before := udpPorts()
	for end := monotonic() + 10*time.Second; monotonic() < end; time.Sleep(5 * time.Millisecond) {
		for port := range udpPorts() {
			if !before[port] {
				return
			}
		}
	}
	t.fail("guest", "the daemon asks no more")
	panic(abort{})
}

// udpPorts returns the local addresses of the machine's UDP sockets.
func udpPorts() map[string]bool {
	b, _ := os.ReadFile("/proc/net/udp")
	ports := map[string]bool{}
	for _, l := range strings.Split(string(b), "\n") {
		if f := strings.Fields(l); len(f) > 2 && strings.Contains(f[1], ":") {
			ports[f[1]] = true
		}
	}
	return ports
}

// nearly reports whether a jump's line tells d to within half of the flight: a sample across the step, or one with
// the delay of the flight, would show.
func nearly(text string, d time.Duration) bool {
	_, rest, _ := strings.Cut(text, "Jumped offset by ")
	var ms float64
	if _, err := fmt.Sscanf(rest, "%g", &ms); err != nil {
		return false
	}
	return (time.Duration(ms*1e6) - d).Abs() < flight/4
}

func signed(d time.Duration) string { return fmt.Sprintf("%+gs", d.Seconds()) }

// foreignStep sets the clock under the daemon, with a request in flight if wanted, and checks that the daemon says
// so within a second.
func foreignStep(t *trial, p *program, name string, d time.Duration, inFlight bool) (mark int, begin time.Duration) {
	if inFlight {
		// On the way back: the request's transmit stamp is taken before the step, the reply's receive stamp after it.
		t.must(delayReplies(flight), "delay replies")
		awaitRequest(t)
	}
	mark, begin = p.mark(), monotonic()
	t.must(stepBy(d), "set clock")
	if inFlight {
		t.must(delayReplies(0), "delay replies")
	}
	until(3*noticeLimit, func() bool { return len(p.find(mark, noticed)) > 0 })
	lines := p.find(mark, noticed)
	if len(lines) == 0 {
		t.need(false, name+"_noticed", "not in %v", 3*noticeLimit)
	}
	took := lines[0].at - begin
	t.number(name+"_noticed", took.Seconds()*1e3, "ms")
	t.need(took < noticeLimit, name+"_noticed", "after %v: %s", took, lines[0].text)
	return mark, begin
}

// panicSteps is the second half of row K05: beyond the panic threshold the daemon holds, or ends if it is to, and says
// why, and a restart does not launder the step (row K02).
func panicSteps(t *trial) {
	t.atEnd(func() { t.guard("correct", correct) })
	heldStep(t)
	for _, d := range []time.Duration{1e5 * time.Second, -1e5 * time.Second, 1e8 * time.Second, -1e8 * time.Second} {
		name := "K05_step" + signed(d)
		p := t.settle(t.run(exitConfig))
		_, begin := foreignStep(t, p, name, d, false)
		code := p.exit(30 * time.Second)
		t.number(name+"_exit", (monotonic() - begin).Seconds(), "s")
		checkRefusal(t, name+"_exit_70", p, code, -d, "single-step-panic-threshold")
		if d == -1e5*time.Second { // the way back is forward, which the limit of the start would allow
			again := t.run(exitConfig)
			checkRefusal(t, "K02_restart"+signed(d), again, again.exit(30*time.Second), -d, "single-step-panic-threshold")
		}
		t.must(correct(), "correct the clock")
	}
}

// heldStep is what happens by default: the clock is left alone and not served, and when an operator takes the step back the
// daemon goes on.
func heldStep(t *trial) {
	const d = 1e5 * time.Second
	p := t.synchronised()
	foreignStep(t, p, "K05_held", d, false)
	held := until(30*time.Second, func() bool { s := snapshot(); return s != nil && s.Suite.RefusedBy == "single-step-panic-threshold" })
	time.Sleep(2 * time.Second) // what it would do now
	s := snapshot()
	offset, _, err := measure()
	t.must(err, "measure")
	t.check(held && !p.ended() && s != nil && !s.Suite.Synchronized && (offset+d).Abs() < time.Second, "K05_held_clock_untouched", "held %v, offset %v", held, offset)
	t.must(correct(), "correct the clock")
	back := until(30*time.Second, func() bool { s := snapshot(); return s != nil && s.Suite.Synchronized && s.Suite.Refusal == "" })
	t.check(back, "K05_held_goes_on", "still refused")
	p.stop(unix.SIGTERM)
}

// tooFarAtStart is the second half of row K03: a clock that is two days ahead at the start is not taken back.
func tooFarAtStart(t *trial) {
	const d = 48 * time.Hour
	t.atEnd(func() { t.guard("correct", correct) })
	t.must(os.RemoveAll(stateDir), "forget the state")
	t.must(stepBy(d), "set clock")
	p := t.run(exitConfig)
	checkRefusal(t, "K03_start"+signed(d), p, p.exit(30*time.Second), -d, "startup-step-panic-threshold")
}

// checkRefusal checks that the daemon ended with 70, named the limit, and left the clock alone.
func checkRefusal(t *trial, name string, p *program, code int, want time.Duration, limit string) {
	why := p.find(0, `^ntp-daemon: .*`+limit)
	t.check(code == 70 && len(why) == 1, name, "exit code %d: %s", code, texts(why))
	offset, _, err := measure()
	t.must(err, "measure")
	t.check((offset-want).Abs() < time.Second, name+"_clock_untouched", "offset %v", offset)
}
