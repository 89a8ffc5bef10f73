package program

import (
	"fmt"
	"slices"
	"strings"
)

// Option is one option of the command line. Exactly one of Value and Set is not nil.
type Option struct {
	Short byte   // 0 for none
	Long  string // without dashes
	Value *string
	Set   *bool
}

// parseArgs fills the options from args (without the program name) by the rules that users of ntpd-rs know: `--key value`,
// `--key=value`, `-k value`, `-kvalue`, bundled booleans, `--` ends the options, a repeated option keeps its last value.
// Unlike there, a word that is no option is an error, because `ntp-daemon FILE` would run something else than FILE. The
// error is one line that names the argument.
func parseArgs(args []string, opts []Option) error {
	for i := 0; i < len(args); i++ {
		a := args[i]
		var used int
		var err error
		switch {
		case a == "--" && i+1 == len(args):
			return nil
		case a == "--":
			return unexpected(args[i+1], opts)
		case strings.HasPrefix(a, "--"):
			used, err = longOption(a[2:], args[i+1:], opts)
		case strings.HasPrefix(a, "-") && len(a) > 1:
			used, err = shortOptions(a[1:], args[i+1:], opts)
		default:
			err = unexpected(a, opts)
		}
		if err != nil {
			return err
		}
		i += used
	}
	return nil
}

// unexpected is the error for a word that is no option.
func unexpected(word string, opts []Option) error {
	remedy := ""
	if slices.ContainsFunc(opts, func(o Option) bool { return o.Short == 'c' }) {
		remedy = "; a configuration is named with -c"
	}
	return fmt.Errorf("unexpected argument %q%s", withoutControls(word), remedy)
}

func longOption(arg string, rest []string, opts []Option) (used int, err error) {
	name, value, glued := strings.Cut(arg, "=")
	for _, o := range opts {
		if o.Long != name {
			continue
		}
		switch {
		case o.Set != nil && glued:
			return 0, fmt.Errorf("option --%s takes no value", name)
		case o.Set != nil:
			*o.Set = true
			return 0, nil
		case glued:
			*o.Value = value
			return 0, nil
		case len(rest) == 0:
			return 0, fmt.Errorf("option --%s needs a value", name)
		}
		*o.Value = rest[0]
		return 1, nil
	}
	return 0, fmt.Errorf("unknown option --%s", withoutControls(name))
}

func shortOptions(arg string, rest []string, opts []Option) (used int, err error) {
	for len(arg) > 0 {
		c := arg[0]
		arg = arg[1:]
		o, ok := findShort(c, opts)
		if !ok {
			return 0, fmt.Errorf("unknown option -%s", withoutControls(string(c)))
		}
		if o.Set != nil {
			*o.Set = true
			continue
		}
		if strings.HasPrefix(arg, "=") {
			return 0, fmt.Errorf("option -%c takes its value without '='", c)
		}
		if arg != "" {
			*o.Value = arg
			return 0, nil
		}
		if len(rest) == 0 {
			return 0, fmt.Errorf("option -%c needs a value", c)
		}
		*o.Value = rest[0]
		return 1, nil
	}
	return 0, nil
}

func findShort(c byte, opts []Option) (Option, bool) {
	for _, o := range opts {
		if o.Short == c && c != 0 {
			return o, true
		}
	}
	return Option{}, false
}

// withoutControls keeps control characters of an argument out of the terminal.
func withoutControls(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}
