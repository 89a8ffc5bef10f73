package program

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/logging"
)

func TestExitCode(t *testing.T) {
	own := func(error) int { return ExitOS }
	for _, tt := range []struct {
		err         error
		plain, owns int
	}{
		{nil, 0, 0},
		{&UsageError{"x"}, ExitUsage, ExitUsage},
		{config.Problems{{What: "x"}}, ExitConfig, ExitConfig},
		{fmt.Errorf("load: %w", &config.NotBuilt{}), ExitConfig, ExitConfig},
		{&ConfigError{fs.ErrPermission}, ExitConfig, ExitConfig},
		{fs.ErrPermission, ExitSoftware, ExitOS},
		{fmt.Errorf("listen: %w", syscall.EACCES), ExitPermission, ExitOS},
		{fmt.Errorf("listen: %w", syscall.EADDRINUSE), ExitUnavailable, ExitOS},
		{fmt.Errorf("listen: %w", syscall.EADDRNOTAVAIL), ExitUnavailable, ExitOS},
		{fmt.Errorf("listen: %w", syscall.EMFILE), ExitOS, ExitOS},
	} {
		if plain, owns := ExitCode(tt.err, nil), ExitCode(tt.err, own); plain != tt.plain || owns != tt.owns {
			t.Errorf("%v: %d and %d, want %d and %d", tt.err, plain, owns, tt.plain, tt.owns)
		}
	}
	if !errors.Is(&ConfigError{fs.ErrNotExist}, fs.ErrNotExist) {
		t.Error("the cause is lost")
	}
}

func TestRun(t *testing.T) {
	kill := func(s syscall.Signal) { _ = syscall.Kill(os.Getpid(), s) }
	for _, tt := range []struct {
		name string
		args []string
		work func(ctx context.Context, hup <-chan os.Signal) error
		code int
	}{
		{"help", []string{"-h"}, nil, 0},
		{"version wins over options", []string{"-vcx"}, nil, 0},
		{"usage", []string{"--konfig"}, nil, ExitUsage},
		{"done", nil, func(context.Context, <-chan os.Signal) error { return nil }, 0},
		{"failed", nil, func(context.Context, <-chan os.Signal) error { return fs.ErrPermission }, ExitPermission},
		{"reload", nil, func(_ context.Context, hup <-chan os.Signal) error { kill(syscall.SIGHUP); <-hup; return nil }, 0},
		{"closed pipe", nil, func(context.Context, <-chan os.Signal) error { kill(syscall.SIGPIPE); return nil }, 0},
		{"stop", nil, func(ctx context.Context, _ <-chan os.Signal) error { kill(syscall.SIGTERM); <-ctx.Done(); return nil }, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var path string
			p := Program{
				Name: "test", Options: []Option{{Short: 'c', Long: "config", Value: &path}}, Threads: 1,
				Work: tt.work, Exit: func(error) int { return ExitPermission },
			}
			if code := p.Run(tt.args); code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
		})
	}
}

func TestOpenLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	for _, text := range []string{"first", "second"} {
		log, file, err := OpenLog(config.Observability{LogPath: path, LogFormat: logging.JSON}, zerolog.WarnLevel, nil)
		if err != nil {
			t.Fatal(err)
		}
		log.Info().Msg("quiet")
		Greet(log, true, []config.Warning{{Problem: config.Problem{What: text}}})
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	}
	b, err := os.ReadFile(path)
	if s := string(b); err != nil || strings.Count(s, "\n") != 2 || !strings.Contains(s, "first") || !strings.Contains(s, "second") {
		t.Errorf("%v, %q", err, s)
	}
	if _, file, err := OpenLog(config.Observability{LogPath: filepath.Join(path, "x")}, zerolog.InfoLevel, nil); err == nil || file != nil {
		t.Error("a file is no folder")
	}
}

func TestParseLevel(t *testing.T) {
	if _, given, err := ParseLevel(""); given || err != nil {
		t.Errorf("%v, %v", given, err)
	}
	if l, given, err := ParseLevel("trace"); !given || err != nil || l != zerolog.TraceLevel {
		t.Errorf("%v, %v, %v", l, given, err)
	}
	if _, _, err := ParseLevel("loud"); !errors.As(err, new(*UsageError)) {
		t.Error(err)
	}
}
