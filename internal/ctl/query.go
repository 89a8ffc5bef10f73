package ctl

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/urfave/cli/v3"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/locate"
	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/nts/ke"
	"ntp-daemon/internal/pki"
	"ntp-daemon/internal/program"
	"ntp-daemon/internal/resolve"
	"ntp-daemon/internal/source"
	"ntp-daemon/internal/units"
)

const (
	// maxQueries keeps a slip of the finger from becoming a flood.
	maxQueries = 100
	// querySpacing is what public servers ask one-shot clients to keep.
	querySpacing = 2 * time.Second
)

// queryOptions is the command line of query.
type queryOptions struct {
	host    string
	port    uint16 // 0: the default of the protocol
	nts     bool
	ca      string
	srv     bool             // the host is a domain whose SRV records name the key exchange servers
	servers []netip.AddrPort // name servers that are asked for them, and believed; none: those of the system
	aeads   []aead.Algorithm // offered, most wanted first; nil: the default ones
	version int
	count   int
	timeout time.Duration
	json    bool
}

func queryCommand(e *Env) *cli.Command {
	return &cli.Command{
		Name: "query", Usage: "ask one server for the time, and leave the clock alone",
		ArgsUsage:   "HOST[:PORT]",
		Description: "With --nts HOST is the key exchange server, port 4460 unless written, and answers must be authentic.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "nts", Usage: "protect the query with Network Time Security"},
			&cli.StringFlag{Name: "ca", Usage: "trust the certificates in the PEM `FILE` beside the system's"},
			&cli.BoolFlag{Name: "srv", Usage: "HOST is a domain whose SRV records name the key exchange servers"},
			&cli.StringSliceFlag{Name: "srv-resolver", Usage: "ask the name server at `ADDRESS` for them, and believe what it says of DNSSEC"},
			&cli.Uint16SliceFlag{Name: "aead", Usage: "offer only AEAD algorithm `ID` (15, 16, 17 or 30); may be given several times, most wanted first"},
			&cli.IntFlag{Name: "ntp-version", Aliases: []string{"V"}, Value: 4, Usage: "3 or 4"},
			&cli.IntFlag{Name: "count", Aliases: []string{"n"}, Value: 1, Usage: "ask `N` times, two seconds apart"},
			&cli.DurationFlag{Name: "timeout", Aliases: []string{"t"}, Value: 5 * time.Second, Usage: "wait `TIME` for each answer"},
			jsonFlag(),
		},
		Action: func(ctx context.Context, c *cli.Command) error {
			q := queryOptions{
				nts: c.Bool("nts"), srv: c.Bool("srv"), ca: c.String("ca"), version: c.Int("ntp-version"),
				count: c.Int("count"), timeout: c.Duration("timeout"), json: c.Bool("json"),
			}
			if c.NArg() != 1 {
				return fail(program.ExitUsage, "query needs one HOST[:PORT]; see %s --help", c.FullName())
			}
			for _, id := range c.Uint16Slice("aead") {
				q.aeads = append(q.aeads, aead.Algorithm(id))
			}
			for _, text := range c.StringSlice("srv-resolver") {
				a, ok := config.NameServer(text)
				if !ok {
					return fail(program.ExitUsage, "--srv-resolver %q is not an address of a name server; write it as 127.0.0.1 or 127.0.0.1:53", text)
				}
				q.servers = append(q.servers, a)
			}
			var err error
			if q.host, q.port, err = config.SplitAddress(c.Args().First()); err != nil {
				return fail(program.ExitUsage, "%w", err)
			}
			if err := q.check(); err != nil {
				return fail(program.ExitUsage, "%w; see %s --help", err, c.FullName())
			}
			return query(ctx, e, q)
		},
	}
}

func (q *queryOptions) check() error {
	switch {
	case q.version != 3 && q.version != 4:
		return fmt.Errorf("NTP version %d is not known; use 3 or 4", q.version)
	case q.nts && q.version != 4:
		return errors.New("NTS needs NTP version 4")
	case q.ca != "" && !q.nts:
		return errors.New("--ca has no effect without --nts")
	case q.srv && !q.nts:
		return errors.New("--srv has no effect without --nts")
	case q.srv && q.port != 0:
		return errors.New("with --srv the SRV records have the ports")
	case len(q.servers) > 0 && !q.srv:
		return errors.New("--srv-resolver has no effect without --srv")
	case len(q.aeads) > 0 && !q.nts:
		return errors.New("--aead has no effect without --nts")
	case slices.ContainsFunc(q.aeads, func(a aead.Algorithm) bool { return !a.Supported() }):
		return fmt.Errorf("--aead %d is no AEAD algorithm that is built; use 15, 16, 17 or 30", q.aeads)
	case q.count < 1 || q.count > maxQueries:
		return fmt.Errorf("--count %d is out of range; use 1 to %d", q.count, maxQueries)
	case q.timeout <= 0:
		return errors.New("--timeout must be positive")
	}
	return nil
}

// query finds the server, asks it as often as wanted and prints what it said.
func query(ctx context.Context, e *Env, q queryOptions) error {
	server, err := q.find(ctx, e.Finder)
	if err != nil {
		return err
	}
	var last error
	var all []answer
	for i := range q.count {
		if i > 0 {
			if err := e.Sleep(ctx, querySpacing); err != nil {
				return err
			}
		}
		r, err := server.ask(ctx, q.version, q.timeout)
		last = err
		if r == nil {
			if ctx.Err() != nil || q.count == 1 {
				return unanswered(err)
			}
			fmt.Fprintf(e.Err, "ntp-ctl: %v\n", err)
			continue
		}
		a := newAnswer(&server, r, err)
		all = append(all, a)
		if err := printAnswer(e, &q, &a, i); err != nil {
			return err
		}
	}
	return conclude(e, &q, all, last)
}

// unanswered tells silence (69) from an answer that must not be believed (1).
func unanswered(err error) error {
	var ne net.Error
	if errors.As(err, &ne) {
		return &exitError{program.ExitUnavailable, err}
	}
	return &exitError{ExitFailed, err}
}

// printAnswer prints the first answer in full and of further ones a line.
func printAnswer(e *Env, q *queryOptions, a *answer, i int) error {
	switch {
	case q.json:
		return nil // all at the end
	case q.count == 1:
		return write(e.Out, []byte(a.describe(painter(e.Colour))))
	}
	text := fmt.Sprintf("%d: offset %s, error at most %s, delay %s, stratum %d", i+1, units.Signed(a.Offset), units.Seconds(a.RootDistance), units.Seconds(a.Delay), a.Stratum)
	if a.Error != "" {
		text += ", " + clean(a.Error)
	}
	return write(e.Out, []byte(text+"\n"))
}

// conclude prints the best of several answers, the one with the shortest round trip, and sets the exit code.
func conclude(e *Env, q *queryOptions, all []answer, last error) error {
	best := -1
	for i := range all {
		if all[i].Error == "" && (best < 0 || all[i].Delay < all[best].Delay) {
			best = i
		}
	}
	if q.json {
		text, err := indented(all)
		if err != nil {
			return fail(program.ExitSoftware, "encode answers: %w", err)
		}
		if err := write(e.Out, text); err != nil {
			return err
		}
	}
	if best < 0 {
		if len(all) == 0 {
			return unanswered(last)
		}
		return done(ExitFailed) // the reason is in the answer
	}
	if q.count > 1 && !q.json {
		return write(e.Out, []byte("\nbest of "+strconv.Itoa(len(all))+" answers:\n"+all[best].describe(painter(e.Colour))))
	}
	return nil
}

// find finds the server as the daemon would if it were configured.
func (q *queryOptions) find(ctx context.Context, f locate.Finder) (candidate, error) {
	src := config.Source{Mode: source.ModeServer, Host: q.host, Port: q.port, Algorithms: q.aeads, SRV: q.srv, SRVResolvers: q.servers}
	if q.nts {
		src.Mode = source.ModeNTS
		src.Roots = pki.NewRoots(q.ca, true)
		if _, err := src.Roots.Pool(time.Now()); err != nil {
			return candidate{}, fail(program.ExitConfig, "%w", err)
		}
	}
	switch {
	case src.Port == 0 && q.nts:
		src.Port = ke.DefaultPort
	case src.Port == 0:
		src.Port = ntp.Port
	}
	f.Timeout = q.timeout
	found, err := f.Find(ctx, &src, locate.Hints{})
	c := candidate{name: found.Name, addrs: askable(&found), session: found.Session}
	if !q.nts {
		c.name = q.host
	}
	if err != nil && len(c.addrs) == 0 {
		return candidate{}, fail(program.ExitUnavailable, "%w", err)
	}
	return c, nil
}

// askable is where a server can be asked that nobody follows: at an address of this host, too.
func askable(found *locate.Found) []netip.AddrPort {
	addrs := found.Addrs
	for _, r := range found.Refused {
		if r.Reason == resolve.Loopback || r.Reason == resolve.Own {
			addrs = append(addrs, netip.AddrPortFrom(r.Addr, found.Port))
		}
	}
	return addrs
}
