package vmtest

import (
	"math/rand/v2"
	"net"
	"path/filepath"
	"testing"
	"time"
)

const (
	// cableDelay ± cableJitter, evenly spread, is how long a frame takes each way through a slow cable. The delay is in the cable
	// and not in a machine, because what a machine holds back before it sends lies behind its transmit stamp.
	cableDelay, cableJitter = 10 * time.Millisecond, time.Millisecond
	longestFrame            = 64 << 10
)

// slowCable takes frames at one socket of the folder and brings them to another, later.
func slowCable(t *testing.T, dir, from, to string) {
	t.Helper()
	at := func(name string) *net.UnixAddr { return &net.UnixAddr{Net: "unixgram", Name: filepath.Join(dir, name)} }
	c, err := net.ListenUnixgram("unixgram", at(from))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	rnd := rand.New(rand.NewPCG(uint64(len(from)), uint64(from[len(from)-1])))
	go func() {
		for buf := make([]byte, longestFrame); ; {
			n, _, err := c.ReadFromUnix(buf)
			if err != nil {
				return
			}
			frame := append([]byte(nil), buf[:n]...)
			delay := cableDelay + time.Duration(rnd.Int64N(int64(2*cableJitter))) - cableJitter
			time.AfterFunc(delay, func() { _, _ = c.WriteToUnix(frame, at(to)) }) // a machine that is not there loses it
		}
	}()
}
