package pool

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/nts/record"
)

func cookies(n int) [][]byte {
	var list [][]byte
	for i := range n {
		list = append(list, bytes.Repeat([]byte{byte(i + 1)}, 104))
	}
	return list
}

func TestAnswer(t *testing.T) {
	b := Backend{Domain: "TS.example.net", Port: 4460}
	d := mustDirectory(t, []string{"pool.example"}, b)
	choice := nts.Choice{Algorithm: aead.SIVCMAC512}
	base := func(change func(*record.Response)) record.Response {
		r := record.Response{Algorithm: aead.SIVCMAC512, Cookies: cookies(8)}
		change(&r)
		return r
	}
	for _, tt := range []struct {
		story   string
		choice  nts.Choice
		got     record.Response
		want    record.Response
		wantErr error
	}{
		{"P01: neither Server nor Port", choice, base(func(*record.Response) {}),
			base(func(r *record.Response) { r.Server, r.Port = "TS.example.net", 123 }), nil},
		{"the time source's own name passes unchanged", choice, base(func(r *record.Response) { r.Server, r.Port = "NTP.example.com.", 11123 }),
			base(func(r *record.Response) { r.Server, r.Port = "NTP.example.com.", 11123 }), nil},
		{"port 65535", choice, base(func(r *record.Response) { r.Port = 65535 }),
			base(func(r *record.Response) { r.Server, r.Port = "TS.example.net", 65535 }), nil},
		{"P03: keep-alive, dialect and an echo nobody asked for stay behind", choice,
			base(func(r *record.Response) {
				r.KeepAlive, r.Dialect, r.CompliantExport = true, record.IANA, true
			}),
			base(func(r *record.Response) { r.Server, r.Port = "TS.example.net", 123 }), nil},
		{"echo of 1024 by our own negotiation", nts.Choice{Algorithm: aead.GCMSIV128, EchoCompliant: true},
			base(func(r *record.Response) { r.Algorithm = aead.GCMSIV128 }),
			base(func(r *record.Response) {
				r.Algorithm, r.CompliantExport, r.Server, r.Port = aead.GCMSIV128, true, "TS.example.net", 123
			}), nil},
		{"P02: nine cookies, the first eight", choice, base(func(r *record.Response) { r.Cookies = cookies(9) }),
			base(func(r *record.Response) { r.Server, r.Port = "TS.example.net", 123 }), nil},
		{"cookies of several lengths: those of the first usable one", choice,
			base(func(r *record.Response) {
				r.Cookies = [][]byte{{1, 2, 3}, {1, 2, 3, 4}, {1, 2, 3}, {5, 6, 7, 8}, make([]byte, 8)}
			}),
			base(func(r *record.Response) {
				r.Cookies, r.Server, r.Port = [][]byte{{1, 2, 3, 4}, {5, 6, 7, 8}}, "TS.example.net", 123
			}), nil},
		{"cookies that chrony would skip: better than none", choice,
			base(func(r *record.Response) { r.Cookies = [][]byte{{1, 2, 3}, {1, 2, 3, 4, 5}, {4, 5, 6}} }),
			base(func(r *record.Response) {
				r.Cookies, r.Server, r.Port = [][]byte{{1, 2, 3}, {4, 5, 6}}, "TS.example.net", 123
			}), nil},
		{"P02: no cookie", choice, base(func(r *record.Response) { r.Cookies = nil }), record.Response{}, ErrNoCookies},
		{"P02: other AEAD", choice, base(func(r *record.Response) { r.Algorithm = aead.SIVCMAC256 }), record.Response{}, ErrOtherChoice},
		{"P02: other protocol", choice, base(func(r *record.Response) { r.Protocol = 0x8001 }), record.Response{}, ErrOtherChoice},
		{"the pool itself", choice, base(func(r *record.Response) { r.Server = "pool.example" }), record.Response{}, ErrNameOwn},
		{"the pool by the name that its user knows", choice, base(func(r *record.Response) { r.Server = "reached.example" }), record.Response{}, ErrNameOwn},
		{"loopback", choice, base(func(r *record.Response) { r.Server = "127.0.0.1" }), record.Response{}, ErrNameLocal},
	} {
		t.Run(tt.story, func(t *testing.T) {
			got, err := d.Answer(&b, tt.choice, Expected{Reached: "reached.example"}, tt.got)
			if !errors.Is(err, tt.wantErr) || (err == nil) != (tt.wantErr == nil) {
				t.Fatalf("error %v, want %v", err, tt.wantErr)
			}
			if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", tt.want); g != w {
				t.Errorf("got  %s\nwant %s", g, w)
			}
		})
	}
}

func TestOddCookies(t *testing.T) {
	for _, tt := range []struct {
		story string
		got   record.Response
		want  bool
	}{
		{"eight alike", record.Response{Cookies: cookies(8)}, false},
		{"one", record.Response{Cookies: cookies(1)}, false},
		{"nine", record.Response{Cookies: cookies(8), Surplus: 1}, true},
		{"two lengths", record.Response{Cookies: append(cookies(1), make([]byte, 100))}, true},
		{"not a multiple of four", record.Response{Cookies: [][]byte{make([]byte, 102)}}, true},
	} {
		if got := OddCookies(&tt.got); got != tt.want {
			t.Errorf("%s: %v", tt.story, got)
		}
	}
}
