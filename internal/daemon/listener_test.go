package daemon

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/server"
)

// responders opens the one [[server]] table of text with that source of random numbers, and returns the responders
// of its workers.
func responders(t *testing.T, rnd io.Reader, text string) (list []*server.Responder) {
	t.Helper()
	cfg, _, err := config.Parse("ntp.toml", []byte("[[server]]\nlisten = \"127.0.0.1:123\"\n"+text))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Servers[0].Listen = netip.MustParseAddrPort("127.0.0.1:0")
	d := &Daemon{cfg: cfg, deps: Deps{Log: zerolog.Nop(), Rand: rnd}}
	l, err := d.newListener(cfg.Servers[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := l.part.Try(); err != nil {
		t.Fatal(err)
	}
	for _, w := range *l.workers.Load() {
		list = append(list, w.responder)
		t.Cleanup(func() { _ = w.socket.Close() })
	}
	return list
}

func stream(seed byte) io.Reader { return rand.NewChaCha8([32]byte{seed}) }

// limitedOf is which of 400 requests from 200 addresses are over the rate: the table is too small for all, so that
// it depends on which of them meet in it. Who is denied is never let pass by chance.
func limitedOf(t *testing.T, rnd io.Reader) string {
	t.Helper()
	r := responders(t, rnd, "rate-limiting-cache-size = 64\nrate-limiting-cutoff-ms = 60000\ndenylist = { filter = [\"0.0.0.0/0\"], action = \"deny\" }\n")[0]
	var s strings.Builder
	for i := range 9 * 200 {
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i % 200)}), 4000)
		p := make([]byte, 48)
		p[0] = 0x23
		_, v := r.Respond(make([]byte, 0, 48), nil, nil, &server.Datagram{Data: p, From: from, Received: 1 << 40}, func() ntp.Timestamp { return 1 << 40 })
		s.WriteString(v.String() + " ")
	}
	return s.String()
}

// S15: nobody can know which addresses meet in the table of the rate limit, because its order is drawn at the start.
func TestS15_LimiterIsSeeded(t *testing.T) {
	a, again, b := limitedOf(t, stream(1)), limitedOf(t, stream(1)), limitedOf(t, stream(2))
	if a != again {
		t.Error("the same random numbers make another table")
	}
	if a == b {
		t.Error("other random numbers make the same table")
	}
	if !strings.Contains(a, "rate_limited") || !strings.Contains(a, "denied") {
		t.Errorf("verdicts %.200s", a)
	}
}

// Every reply with NTS has a nonce of its own, whichever worker sends it and whichever process: one nonce twice under
// one key shows a listener what the two plaintexts have in common.
func TestListener_NoncesNeverRepeat(t *testing.T) {
	master, err := nts.NewMasterKey(stream(9))
	if err != nil {
		t.Fatal(err)
	}
	set := nts.NewKeySet(master, 1)
	keys := nts.Keys{Algorithm: aead.SIVCMAC256, C2S: bytes.Repeat([]byte{1}, 32), S2C: bytes.Repeat([]byte{2}, 32)}
	sealer, rnd := nts.NewSealer(), stream(8)
	seen := map[string]bool{}
	for seed := range byte(2) {
		for w, r := range responders(t, stream(seed), "") {
			for range 50 {
				session, err := nts.NewSession(nts.SessionParams{Keys: keys, Cookies: [][]byte{sealer.Seal(nil, set, &keys, rnd)}})
				if err != nil {
					t.Fatal(err)
				}
				h := ntp.Header{Version: 4, Mode: ntp.ModeClient, Transmit: 5}
				p, err := session.AppendRequest(h.AppendTo(nil), bytes.Repeat([]byte{7}, 32), rnd)
				if err != nil {
					t.Fatal(err)
				}
				reply, v := r.Respond(make([]byte, 0, ntp.MaxPacket), nil, set,
					&server.Datagram{Data: p, From: netip.MustParseAddrPort("192.0.2.1:4000"), Received: 1 << 40}, func() ntp.Timestamp { return 1 << 40 })
				if v != server.AnsweredNTS {
					t.Fatal(v)
				}
				var f ntp.Fields
				if err := f.Trailer(reply, 4); err != nil {
					t.Fatal(err)
				}
				value := f.All()[len(f.All())-1].Value
				nonce := string(value[4:][:binary.BigEndian.Uint16(value)])
				if seen[nonce] || len(nonce) != 16 {
					t.Fatalf("start %d, worker %d: nonce %x, as before", seed, w, nonce)
				}
				seen[nonce] = true
			}
		}
	}
}
