package ctl

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/program"
	"ntp-daemon/internal/units"
)

const (
	// stepThreshold is the offset below which the clock is left to the daemon, which need not step it.
	stepThreshold = time.Second
	// longestReply bounds what is read of an answer to the question.
	longestReply = 64
	// wallFormat shows a time to the millisecond, with its zone.
	wallFormat = "2006-01-02 15:04:05.000 MST"
)

// forceOptions is the command line of force-sync.
type forceOptions struct {
	config    string
	yes       bool
	dryRun    bool
	threshold time.Duration
}

func forceSyncCommand(e *Env) *cli.Command {
	return &cli.Command{
		Name: "force-sync", Usage: "ask all sources once and set the clock if a majority agrees",
		Description: "Asks before it sets the clock. Offsets below the threshold are left to the daemon.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask"},
			&cli.BoolFlag{Name: "dry-run", Usage: "show what would be done and leave the clock alone"},
			&cli.DurationFlag{Name: "threshold", Value: stepThreshold, Usage: "leave the clock alone when it is less than `TIME` off"},
		},
		Action: func(ctx context.Context, c *cli.Command) error {
			if err := noArguments(c); err != nil {
				return err
			}
			f := forceOptions{config: c.String("config"), yes: c.Bool("yes"), dryRun: c.Bool("dry-run"), threshold: c.Duration("threshold")}
			if f.threshold < 0 {
				return fail(program.ExitUsage, "--threshold is negative")
			}
			return forceSync(ctx, e, f)
		},
	}
}

// forceSync sets the clock once. Every outcome but a clock that is right, before or after, has an exit code.
func forceSync(ctx context.Context, e *Env, f forceOptions) error {
	if !e.InIsTerm && !f.yes && !f.dryRun {
		return fail(ExitFailed, "force-sync asks before it sets the clock, and there is no terminal; say --yes or --dry-run")
	}
	cfg, err := forceable(f)
	if err != nil {
		return err
	}
	got := gather(ctx, e, cfg.Sources)
	if err := ctx.Err(); err != nil {
		return fail(ExitFailed, "interrupted")
	}
	agreeing, offset := majority(got.samples)
	need := quorum(len(got.samples), got.wanted, cfg.Synchronization.Algorithm.MinimumAgreeing)
	if err := write(e.Out, []byte(sampleTable(&got, agreeing, painter(e.Colour)))); err != nil {
		return err
	}
	for _, line := range got.failures {
		fmt.Fprintf(e.Err, "ntp-ctl: %s\n", clean(line))
	}
	if len(agreeing) < need {
		return fail(ExitFailed, "no majority: %d of %d answers agree and %d must (half of %d sources, minimum-agreeing-sources = %d); the clock was not set",
			len(agreeing), len(got.samples), need, got.wanted, cfg.Synchronization.Algorithm.MinimumAgreeing)
	}
	verb := "sources agree"
	if len(agreeing) == 1 {
		verb = "source says"
	}
	fmt.Fprintf(e.Out, "\n%d %s: %s\n", len(agreeing), verb, inWords(offset))
	if math.Abs(offset) < f.threshold.Seconds() {
		fmt.Fprintf(e.Out, "That is within %s; nothing to do.\n", units.Seconds(f.threshold.Seconds()))
		return nil
	}
	return setClock(ctx, e, cfg, f, duration(offset))
}

// forceable loads the configuration and refuses one whose daemon does not steer the machine's clock.
func forceable(f forceOptions) (*config.Config, error) {
	cfg, _, err := config.Load(f.config)
	var notBuilt *config.NotBuilt
	if err != nil && !errors.As(err, &notBuilt) {
		return nil, &exitError{program.ExitConfig, err}
	}
	name := cfg.Path
	if name == "" {
		name = config.DefaultPath
	}
	switch {
	case len(cfg.Sources) == 0:
		return nil, fail(program.ExitConfig, "%s: has no source that can be asked", name)
	case f.dryRun:
	case cfg.Synchronization.Clock == config.ClockVirtual:
		return nil, fail(program.ExitConfig, "%s: synchronization.clock: is virtual, the machine's clock is not to be set; use --dry-run", name)
	case !cfg.Synchronization.ClockControl:
		return nil, fail(program.ExitConfig, "%s: synchronization.clock-control: is off, the clock is not to be set; use --dry-run", name)
	}
	return cfg, nil
}

// sampleTable shows what every source said and who agrees.
func sampleTable(got *collected, agreeing []int, p painter) string {
	rows := [][]cell{headerOf([]string{"", "NAME", "ADDRESS", "NTS", "OFFSET", "ERROR AT MOST"}, map[int]bool{4: true, 5: true})}
	next := 0
	for i, s := range got.samples {
		mark, nts := left("x").in(bad), left("no")
		if next < len(agreeing) && agreeing[next] == i {
			mark = left("+").in(good)
			next++
		}
		if s.nts {
			nts = left("yes").in(good)
		}
		rows = append(rows, []cell{mark, left(clean(s.name)), left(s.address), nts, right(units.Signed(s.offset)), right(units.Seconds(s.bound))})
	}
	return table(rows, " ", p)
}

// inWords says how far off the clock is.
func inWords(offset float64) string {
	d := duration(math.Abs(offset))
	size := units.Seconds(math.Abs(offset))
	if d >= time.Minute {
		size = units.Span(d)
	}
	switch direction := units.Signed(offset); {
	case direction == "0 s":
		return "the clock is right"
	case offset > 0:
		return "the clock is " + size + " behind"
	}
	return "the clock is " + size + " ahead"
}

// setClock shows both times, asks, and steps.
func setClock(ctx context.Context, e *Env, cfg *config.Config, f forceOptions, offset time.Duration) error {
	now := e.Now().Round(0)
	fmt.Fprintf(e.Out, "Now:      %s\nProposed: %s\n", now.Format(wallFormat), now.Add(offset).Format(wallFormat))
	if f.dryRun {
		fmt.Fprintln(e.Out, "Dry run: the clock was not set.")
		return nil
	}
	if path := cfg.Observability.ObservationPath; path != "" {
		if s, err := observe.Read(ctx, path); err == nil && s.Suite.Clock == "system" {
			fmt.Fprintln(e.Out, "A daemon is running; it will notice the step and measure anew.")
		}
	}
	if !f.yes {
		yes, err := confirm(ctx, e)
		if err != nil {
			return err
		}
		if !yes {
			fmt.Fprintln(e.Out, "Time not updated")
			return done(ExitFailed)
		}
	}
	c, err := e.OpenClock()
	if err == nil {
		_, err = c.Step(offset)
	}
	switch {
	case errors.Is(err, ntp.ErrClockPermission):
		return fail(program.ExitPermission, "could not update the clock: %w; run it as root", err)
	case err != nil:
		return fail(program.ExitSoftware, "could not update the clock: %w", err)
	}
	fmt.Fprintln(e.Out, "Time updated successfully")
	return nil
}

// confirm asks; anything but y or yes is no. It does not wait for an answer once ctx has ended.
func confirm(ctx context.Context, e *Env) (bool, error) {
	fmt.Fprint(e.Out, "Set the clock? [y/N] ")
	replies := make(chan string, 1)
	go func() { // ends with the answer, or with the process
		line, _ := bufio.NewReader(io.LimitReader(e.In, longestReply)).ReadString('\n')
		replies <- line
	}()
	select {
	case line := <-replies:
		line = strings.ToLower(strings.TrimSpace(line))
		return line == "y" || line == "yes", nil
	case <-ctx.Done():
		return false, fail(ExitFailed, "interrupted; the clock was not set")
	}
}
