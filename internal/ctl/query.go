package ctl

import (
	"context"

	"github.com/urfave/cli/v3"
)

func queryCommand(e *Env) *cli.Command {
	return &cli.Command{Name: "query", Action: func(context.Context, *cli.Command) error { return nil }}
}
func forceSyncCommand(e *Env) *cli.Command {
	return &cli.Command{Name: "force-sync", Action: func(context.Context, *cli.Command) error { return nil }}
}
