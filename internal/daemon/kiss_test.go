package daemon

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/suite"
)

// TestS16_KissKey: a client over the limit hears of it once a second with rate-limiting-kiss, and never without.
func TestS16_KissKey(t *testing.T) {
	for _, wanted := range []bool{true, false} {
		address := fmt.Sprintf("127.0.0.1:%d", suite.FreePort(t))
		cfg, _, err := config.Parse("ntp.toml", []byte(fmt.Sprintf("[[server]]\nlisten = %q\nrate-limiting-cache-size = 16\n"+
			"rate-limiting-cutoff-ms = 60000\nrate-limiting-kiss = %v\n[synchronization]\nclock = \"virtual\"\nlocal-stratum = 5\n"+
			"[state]\ndirectory = %q\n", address, wanted, t.TempDir())))
		if err != nil {
			t.Fatal(err)
		}
		ready := make(chan struct{})
		d, err := New(cfg, Deps{Log: zerolog.Nop(), Rand: rand.Reader, OpenClock: openClock, Notify: func(state string) {
			if strings.HasPrefix(state, "READY=1") {
				close(ready)
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- d.Run(ctx, nil) }()
		<-ready
		if kisses := rateKisses(t, address, 4*rateBurst); (kisses == 1) != wanted || kisses > 1 {
			t.Errorf("rate-limiting-kiss = %v: %d kisses", wanted, kisses)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// rateKisses sends n requests at once and counts the RATE kisses among the answers, until none comes any more.
func rateKisses(t *testing.T, address string, n int) (kisses int) {
	t.Helper()
	c, err := net.Dial("udp4", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	request := make([]byte, ntp.HeaderLen)
	request[0], request[47] = 0x23, 1 // version 4, client; a transmit time that is not zero
	for range n {
		if _, err := c.Write(request); err != nil {
			t.Fatal(err)
		}
	}
	answer := make([]byte, ntp.MaxPacket)
	for {
		_ = c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		m, err := c.Read(answer)
		if err != nil {
			return kisses
		}
		if h, err := ntp.ParseHeader(answer[:m]); err == nil && h.IsKiss() && h.RefID == ntp.KissRATE {
			kisses++
		}
	}
}
