//go:build linux

// ntpload asks a time server as fast as it answers, or at a fixed rate, or for keys, and prints one line of JSON: answers per
// second, how long they took, how many were lost or wrong, and what each cost the processes of -pid. Only aim it at
// servers that you run yourself.
//
//	ntpload -target 10.99.0.1:123 -window 256 -burst 32 -pid 4711
//	ntpload -target 10.99.0.1:123 -rate 50000 -burst 16 -ke 10.99.0.1:4460 -name localhost -ca ca.pem -aead 15
//	ntpload -target 10.99.0.1:123 -interleaved -ports 16 -from 10.99.0.128/28 -window 256 -burst 32
//	ntpload -ke 10.99.0.1:4460 -name localhost -ca ca.pem -exchanges 400 -at-once 8 -curve X25519
//	ntpload -watch 200s -pid 4711
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"ntp-daemon/internal/loadgen"
	"ntp-daemon/internal/nts/aead"
)

// notMeasured is the exit code for a server that does not do what was to be measured.
const notMeasured = 3

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx)
	switch {
	case err == nil:
		return
	case errors.Is(err, loadgen.ErrCurve), errors.Is(err, loadgen.ErrNotOffered):
		fmt.Fprintln(os.Stderr, "ntpload:", err)
		os.Exit(notMeasured)
	}
	fmt.Fprintln(os.Stderr, "ntpload:", err)
	os.Exit(1)
}

// options are the command line.
type options struct {
	load                   loadgen.Load
	crowd                  loadgen.Crowd
	watch                  time.Duration
	target, ca, pids       string
	from                   string
	curve, label, exchange string
	algorithm              uint
}

func parse() *options {
	o := &options{}
	flag.StringVar(&o.target, "target", "", "the time server, `address:port`")
	flag.Float64Var(&o.load.Rate, "rate", 0, "requests per second; 0: as fast as the server answers")
	flag.IntVar(&o.load.Window, "window", 256, "without -rate: requests under way")
	flag.IntVar(&o.load.Burst, "burst", 1, "requests sent at one time, 1 to 64")
	flag.IntVar(&o.load.Ports, "ports", 4, "source ports")
	flag.StringVar(&o.from, "from", "", "`prefix` whose first addresses are those of the ports, one for each; empty: the system's choice for all")
	flag.BoolVar(&o.load.Interleaved, "interleaved", false, "interleaved mode (RFC 9769)")
	flag.DurationVar(&o.load.WarmUp, "warm-up", 500*time.Millisecond, "sent before the measurement")
	flag.DurationVar(&o.load.Length, "length", 3*time.Second, "of the measurement")
	flag.StringVar(&o.exchange, "ke", "", "key exchange server, `host:port`: the requests carry NTS")
	flag.StringVar(&o.crowd.Name, "name", "", "name in the key exchange server's certificate; the host of -ke if empty")
	flag.StringVar(&o.ca, "ca", "", "`file` with the certificates that the key exchange server's must chain to; the system's if empty")
	flag.UintVar(&o.algorithm, "aead", uint(aead.SIVCMAC256), "AEAD algorithm of NTS: 15, 17 or 30")
	flag.StringVar(&o.curve, "curve", "", "key agreement: X25519, P-256 or X25519MLKEM768 and no other; empty: what Go offers")
	flag.IntVar(&o.crowd.Count, "exchanges", 0, "measure so many key exchanges, and no NTP")
	flag.IntVar(&o.crowd.AtOnce, "at-once", 8, "with -exchanges: so many at one time")
	flag.IntVar(&o.crowd.WarmUp, "first", 16, "with -exchanges: so many before those that count")
	flag.DurationVar(&o.watch, "watch", 0, "ask nothing: look at -pid for so long")
	flag.StringVar(&o.pids, "pid", "", "the server's processes, with commas")
	flag.StringVar(&o.label, "label", "", "copied into the output")
	flag.Parse()
	return o
}

// curves are the key agreements by name.
func curves(name string) ([]tls.CurveID, error) {
	switch name {
	case "":
		return nil, nil
	case "X25519":
		return []tls.CurveID{tls.X25519}, nil
	case "P-256":
		return []tls.CurveID{tls.CurveP256}, nil
	case "X25519MLKEM768":
		return []tls.CurveID{tls.X25519MLKEM768}, nil
	}
	return nil, fmt.Errorf("-curve %q is not known", name)
}

// complete turns words into values.
func (o *options) complete() (err error) {
	x := &o.crowd.Exchange
	x.Address, x.Algorithm = o.exchange, aead.Algorithm(o.algorithm)
	if x.Curves, err = curves(o.curve); err != nil {
		return err
	}
	if o.ca != "" {
		pem, err := os.ReadFile(o.ca)
		if err != nil {
			return fmt.Errorf("read trusted certificates: %w", err)
		}
		if x.Roots = x509.NewCertPool(); !x.Roots.AppendCertsFromPEM(pem) {
			return fmt.Errorf("%s: no certificates", o.ca)
		}
	}
	for s := range strings.SplitSeq(o.pids, ",") {
		if s == "" {
			continue
		}
		pid, err := strconv.Atoi(s)
		if err != nil {
			return fmt.Errorf("-pid: %w", err)
		}
		o.load.PIDs = append(o.load.PIDs, pid)
	}
	o.crowd.PIDs = o.load.PIDs
	if o.exchange != "" {
		o.load.NTS = x
	}
	return nil
}

// run does what was asked for and prints it.
func run(ctx context.Context) error {
	o := parse()
	if err := o.complete(); err != nil {
		return err
	}
	r, err := o.measure(ctx)
	if err != nil {
		return err
	}
	r.Label = o.label
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		return fmt.Errorf("print result: %w", err)
	}
	return nil
}

func (o *options) measure(ctx context.Context) (r loadgen.Result, err error) {
	switch {
	case o.watch > 0:
		return loadgen.Watch(o.load.PIDs, o.watch), nil
	case o.crowd.Count > 0:
		return o.crowd.Run(ctx)
	}
	if o.load.Target, err = netip.ParseAddrPort(o.target); err != nil {
		return r, fmt.Errorf("-target: %w", err)
	}
	if o.from != "" {
		if o.load.From, err = netip.ParsePrefix(o.from); err != nil {
			return r, fmt.Errorf("-from: %w", err)
		}
	}
	return o.load.Run(ctx)
}
