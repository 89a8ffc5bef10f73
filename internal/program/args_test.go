package program

import "testing"

func TestParseArgs(t *testing.T) {
	type want struct {
		config, level string
		help, version bool
		err           string
	}
	for _, tt := range []struct {
		name string
		args []string
		want want
	}{
		{"nothing", nil, want{}},
		{"short with value", []string{"-c", "a.toml"}, want{config: "a.toml"}},
		{"short glued", []string{"-ca.toml"}, want{config: "a.toml"}},
		{"long with value", []string{"--config", "a.toml"}, want{config: "a.toml"}},
		{"long with equals", []string{"--config=a=b"}, want{config: "a=b"}},
		{"bundle", []string{"-hv"}, want{help: true, version: true}},
		{"bundle ending in a value", []string{"-hca.toml"}, want{help: true, config: "a.toml"}},
		{"repeated keeps the last", []string{"-ca", "-cb"}, want{config: "b"}},
		{"positional", []string{"base.toml"}, want{err: `unexpected argument "base.toml"; a configuration is named with -c`}},
		{"positional behind an option", []string{"-l", "info", "x"}, want{err: `unexpected argument "x"; a configuration is named with -c`}},
		{"bare dash", []string{"-"}, want{err: `unexpected argument "-"; a configuration is named with -c`}},
		{"double dash ends", []string{"-h", "--"}, want{help: true}},
		{"option behind the double dash", []string{"--", "-h"}, want{err: `unexpected argument "-h"; a configuration is named with -c`}},
		{"controls in a positional", []string{"a\x1b[31m"}, want{err: `unexpected argument "a?[31m"; a configuration is named with -c`}},
		{"short equals", []string{"-c=a"}, want{err: "option -c takes its value without '='"}},
		{"missing value", []string{"--config"}, want{err: "option --config needs a value"}},
		{"missing short value", []string{"-c"}, want{err: "option -c needs a value"}},
		{"unknown", []string{"--konfig"}, want{err: "unknown option --konfig"}},
		{"unknown short", []string{"-x"}, want{err: "unknown option -x"}},
		{"control characters", []string{"--\x1b[31m"}, want{err: "unknown option --?[31m"}},
		{"value for a switch", []string{"--help=1"}, want{err: "option --help takes no value"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got want
			err := parseArgs(tt.args, []Option{
				{Short: 'c', Long: "config", Value: &got.config}, {Short: 'l', Long: "log-level", Value: &got.level},
				{Short: 'h', Long: "help", Set: &got.help}, {Short: 'v', Long: "version", Set: &got.version},
			})
			if err != nil {
				if err.Error() != tt.want.err {
					t.Fatalf("error %q, want %q", err, tt.want.err)
				}
				return
			}
			if got != tt.want {
				t.Fatalf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}
