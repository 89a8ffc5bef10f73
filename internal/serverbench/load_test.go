//go:build linux && !race

package serverbench_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"

	"ntp-daemon/internal/loadgen"
)

// What a measurement may say instead of figures.
var (
	errNotOffered = errors.New("not offered") // the server does not do what was to be measured
	errNothing    = errors.New("no answers")
)

// notOffered is ntpload's exit code for that.
const notOffered = 3

// kind is what is asked for.
type kind struct {
	name        string
	aead        int    // 0: without NTS
	curve       string // of a key exchange; "default" is what Go, and so our client, offers; empty: time is asked for
	interleaved bool
	against     []int // servers that do it
}

// kinds, in the order of the table.
var kinds = []kind{
	{name: "plain", against: []int{limit, own, chrony, ntpdRS}},
	{name: "NTS, AEAD 15", aead: 15, against: []int{own, chrony, ntpdRS}},
	{name: "NTS, AEAD 30", aead: 30, against: []int{own, chrony, ntpdRS}},
	{name: "interleaved", interleaved: true, against: []int{own, chrony}},
	{name: "key exchange, default", curve: "default", against: []int{own, chrony, ntpdRS}},
	{name: "key exchange, X25519", curve: "X25519", against: []int{own, chrony, ntpdRS}},
}

// pattern is how it is asked for.
type pattern struct {
	name string
	args []string
}

const (
	saturation = "saturation"
	bursts     = "bursts of 16"
	spaced     = "evenly spaced"
	busy       = "8 at once"
)

// patterns of a kind. AEAD 30 differs from 15 in its cryptography only, which saturation and bursts show.
func (k *kind) patterns() []pattern {
	fast := pattern{saturation, []string{"-window", "256", "-burst", "32"}}
	rate := "50000"
	if k.aead != 0 {
		rate = "20000"
	}
	burst := pattern{bursts, []string{"-rate", rate, "-burst", "16"}}
	switch {
	case k.curve != "":
		return []pattern{{busy, []string{"-at-once", "8"}}}
	case k.aead == 30:
		return []pattern{fast, burst}
	}
	return []pattern{fast, burst, {spaced, []string{"-rate", "10000", "-burst", "1"}}}
}

// measure asks a server once.
func (s *site) measure(v *server, k *kind, p *pattern, pl *plan) (loadgen.Result, error) {
	args := append([]string(nil), p.args...)
	if k.curve != "" || k.aead != 0 {
		args = append(args, "-ke", v.address(v.ke), "-name", "localhost", "-ca", s.dir+"/ca.pem")
	}
	if k.curve != "" {
		if k.curve != "default" {
			args = append(args, "-curve", k.curve)
		}
		args = append(args, "-exchanges", strconv.Itoa(pl.exchanges), "-first", strconv.Itoa(pl.exchanges/10+8))
	} else {
		args = append(args, "-target", v.address(v.ntp), "-warm-up", pl.warmUp.String(), "-length", pl.length.String())
	}
	if k.aead != 0 {
		args = append(args, "-aead", strconv.Itoa(k.aead))
	}
	if k.interleaved {
		args = append(args, "-interleaved", "-ports", manyPorts, "-from", manyAddresses)
	}
	r, err := s.ask(v, args...)
	if err != nil {
		return r, err
	}
	return r, wrong(k, &r, pl.full)
}

// wrong says what a server must not do, however busy it is. strict: answers to nothing that was asked are wrong, too. On a machine
// that does other things they may be so late that their place in the generator's table has a new owner.
func wrong(k *kind, r *loadgen.Result, strict bool) error {
	unasked := r.Unmatched
	if k.interleaved || !strict {
		unasked = 0
	}
	switch {
	case r.Valid == 0:
		return fmt.Errorf("%w; %s", errNothing, r.Failure)
	case unasked+r.Malformed+r.Kiss+r.Unsynced+r.Forged > 0:
		return fmt.Errorf("wrong answers: %+v", r.Counts)
	case k.interleaved && r.Interleaved == 0:
		return errNotOffered
	}
	return nil
}

// ask runs the load generator, on its own processor in its own network.
func (s *site) ask(v *server, args ...string) (r loadgen.Result, err error) {
	var pids []string
	for _, p := range v.pids() {
		pids = append(pids, strconv.Itoa(p))
	}
	line := append([]string{"-c", s.cpus.generator, s.load, "-pid", strings.Join(pids, ",")}, args...)
	var out, errs bytes.Buffer
	cmd := s.beyond.Command("taskset", line...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	if exit := (&exec.ExitError{}); errors.As(err, &exit) && exit.ExitCode() == notOffered {
		return r, errNotOffered
	}
	if err != nil {
		return r, fmt.Errorf("ntpload %s: %w: %s", strings.Join(args, " "), err, errs.String())
	}
	return r, json.Unmarshal(out.Bytes(), &r)
}
