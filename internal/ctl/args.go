package ctl

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v3"
)

// shortWithValue are the short options that take a value.
const shortWithValue = "cfnstV"

// splitShortOptions parts -cPATH, -n3 and the like, which users of ntpd-rs write and the library does not know.
func splitShortOptions(args []string) []string {
	var out []string
	for i, a := range args {
		if a == "--" {
			return append(out, args[i:]...)
		}
		if len(a) > 2 && a[0] == '-' && strings.IndexByte(shortWithValue, a[1]) >= 0 {
			out = append(out, a[:2], a[2:])
		} else {
			out = append(out, a)
		}
	}
	return out
}

// commandFirst moves options that stand before the command behind it, as users of ntpd-rs write them; the library takes
// only its own there. -h, -v and -c stay, which mean the same in front of every command. Without a command nothing moves.
func commandFirst(args []string, root *cli.Command) []string {
	valued, own := map[string]bool{}, map[string]bool{"h": true, "help": true} // valued has every other option
	for _, f := range root.Flags {
		for _, n := range f.Names() {
			own[n] = true
		}
	}
	for _, c := range append(root.Commands, root) {
		for _, f := range c.Flags {
			_, isBool := f.(*cli.BoolFlag)
			for _, n := range f.Names() {
				valued[n] = !isBool
			}
		}
	}
	front, moved := []string{args[0]}, []string{}
	for rest := args[1:]; len(rest) > 0; {
		if rest[0] == "--" || len(rest[0]) < 2 || rest[0][0] != '-' {
			if root.Command(rest[0]) == nil {
				moved = nil // the word that is no command is the mistake to tell
			}
			return slices.Concat(front, rest[:1], moved, rest[1:])
		}
		name, _, glued := strings.Cut(strings.TrimLeft(rest[0], "-"), "=")
		if _, known := valued[name]; !known && !own[name] {
			return args // the library tells it
		}
		n := 1
		if valued[name] && !glued && len(rest) > 1 {
			n = 2
		}
		if own[name] {
			front = append(front, rest[:n]...)
		} else {
			moved = append(moved, rest[:n]...)
		}
		rest = rest[n:]
	}
	return args
}
