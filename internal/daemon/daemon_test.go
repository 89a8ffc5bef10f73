package daemon

import (
	"context"
	"crypto/rand"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/suite"
)

// TestRun_StartAndStop starts and stops a daemon with everything in it, for the race detector: no goroutine may see
// another one's half-made state.
func TestRun_StartAndStop(t *testing.T) {
	dir := t.TempDir()
	for range 5 {
		cfg, _, err := config.Parse("ntp.toml", []byte(`
[[source]]
mode = "server"
address = "127.0.0.1:9"
[[server]]
listen = "127.0.0.1:`+strconv.Itoa(suite.FreePort(t))+`"
[synchronization]
clock = "virtual"
minimum-agreeing-sources = 1
[state]
directory = "`+filepath.Join(dir, "state")+`"
`))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		d, err := New(cfg, Deps{
			Log: zerolog.Nop(), Rand: rand.Reader, OpenClock: openClock,
			Notify: func(state string) {
				if state == "READY=1" {
					time.AfterFunc(20*time.Millisecond, cancel)
				}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Run(ctx, nil); err != nil {
			t.Error(err)
		}
		cancel()
	}
}
