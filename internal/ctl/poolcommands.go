package ctl

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v3"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/poolview"
	"ntp-daemon/internal/program"
)

// The schema of what pool explain prints as JSON.
const explainSchema = "ntp-ctl.pool-explain/1"

func poolCommand(e *Env) *cli.Command {
	return &cli.Command{
		Name: "pool", Usage: "look at nts-pool-ke and its time sources",
		Flags: []cli.Flag{jsonFlag(), socketFlag()},
		Action: func(_ context.Context, c *cli.Command) error {
			if c.Args().Present() {
				return unknownCommand(c)
			}
			return fail(program.ExitUsage, "pool needs a command: status or explain")
		},
		Commands: []*cli.Command{
			{
				Name: "status", Usage: "show the pool's state and its time sources",
				Action: func(ctx context.Context, c *cli.Command) error {
					if err := noArguments(c); err != nil {
						return err
					}
					s, err := readPool(ctx, c)
					if err != nil {
						return err
					}
					format := formatPlain
					if c.Bool("json") {
						format = formatJSON
					}
					return writeStatus(e, s, format)
				},
			},
			{
				Name: "explain", Usage: "say why a time source is handed out or not", ArgsUsage: "MEMBER",
				Action: func(ctx context.Context, c *cli.Command) error {
					if c.Args().Len() != 1 {
						return fail(program.ExitUsage, "explain needs one time source: its id, its name, or the beginning of either; see ntp-ctl pool status")
					}
					s, err := readPool(ctx, c)
					if err != nil {
						return err
					}
					m, err := findMember(s.Pool, c.Args().First())
					if err != nil {
						return err
					}
					return explainMember(e, s, m, c.Bool("json"))
				},
			},
		},
	}
}

// readPool reads the snapshot of a pool; that of a daemon is refused.
func readPool(ctx context.Context, c *cli.Command) (*observe.Snapshot, error) {
	path, err := poolSocket(c.String("socket"), c.String("config"))
	if err != nil {
		return nil, err
	}
	s, err := read(ctx, path)
	switch {
	case err != nil:
		return nil, err
	case s.Pool == nil:
		return nil, fail(program.ExitUsage, "%s is the socket of ntp-daemon; name that of nts-pool-ke with -s, or its configuration with -c", path)
	}
	return s, nil
}

// poolSocket is the socket to read: the one that was named, that of the configuration, or without both that of the unit.
func poolSocket(socket, configPath string) (string, error) {
	if socket == "" && configPath == "" {
		return config.DefaultPoolSocket, nil
	}
	return socketPath(socket, configPath)
}

// findMember is the time source with that id or name, or the only one whose id or name begins so.
func findMember(p *observe.Pool, name string) (*observe.PoolServer, error) {
	var begin []*observe.PoolServer
	for i := range p.Servers {
		m := &p.Servers[i]
		switch {
		case m.ID == name, m.Server == name:
			return m, nil
		case strings.HasPrefix(m.ID, name), strings.HasPrefix(m.Server, name):
			begin = append(begin, m)
		}
	}
	if len(begin) == 1 {
		return begin[0], nil
	}
	what := "no time source is called " + clean(name)
	if len(begin) > 1 {
		what = clean(name) + " is the beginning of several"
	}
	if len(begin) == 0 {
		for i := range p.Servers {
			begin = append(begin, &p.Servers[i])
		}
	}
	var names []string
	for _, m := range begin[:min(len(begin), 10)] {
		names = append(names, clean(m.Server))
	}
	if len(names) == 0 {
		return nil, fail(program.ExitUsage, "%s: the pool has none", what)
	}
	return nil, fail(program.ExitUsage, "%s; use one of %s", what, strings.Join(slices.Compact(names), ", "))
}

// explained is the JSON of pool explain.
type explained struct {
	Schema    string `json:"schema"`
	ID        string `json:"id"`
	Server    string `json:"server"`
	HandedOut bool   `json:"handed_out"`
	Health    string `json:"health"`
	poolview.Explanation
}

// explainMember prints why; the exit code is ExitFailed if the time source is not handed out.
func explainMember(e *Env, s *observe.Snapshot, m *observe.PoolServer, asJSON bool) error {
	h, why := poolview.HealthOf(m), poolview.Explain(s, m)
	var text []byte
	if asJSON {
		var err error
		if text, err = indented(explained{explainSchema, m.ID, m.Server, h.HandedOut, h.Word, why}); err != nil {
			return fail(program.ExitSoftware, "encode the explanation: %w", err)
		}
	} else {
		text = []byte(explanation(why, h, painter(e.Colour)))
	}
	if err := write(e.Out, text); err != nil {
		return err
	}
	if !h.HandedOut {
		return done(ExitFailed)
	}
	return nil
}

// explanation is the text for a person.
func explanation(why poolview.Explanation, h poolview.Health, p painter) string {
	var b strings.Builder
	b.WriteString(p.paint(strings.TrimRight(wrapped("", clean(why.Verdict)), "\n"), styleOf(h.Tone)) + "\n")
	for _, fact := range why.Facts {
		name, text, ok := strings.Cut(fact, ": ")
		if !ok {
			name, text = "", fact
		}
		b.WriteString(wrapped(fmt.Sprintf("  %-14s  ", strings.ToLower(clean(name))), clean(text)))
	}
	for _, try := range why.Try {
		b.WriteString(wrapped("try: ", clean(try)))
	}
	return b.String()
}
