package hostile_test

import (
	"bytes"
	"crypto/tls"

	"ntp-daemon/internal/faultnet"
	"ntp-daemon/internal/nts/record"
)

// keScript is one way in which a key exchange server can be hostile.
type keScript struct {
	name   string
	play   faultnet.KEScript
	edit   func(*tls.Config) // of its TLS side
	raw    bool              // below TLS
	usable bool              // the answer may be used for what is good in it
}

// keScripts are the acceptance rows KC that a server can play.
func keScripts() []keScript {
	rec := func(kind record.Type, critical bool, body ...byte) []byte {
		return record.Append(nil, record.Record{Type: kind, Critical: critical, Body: body})
	}
	np, algo := rec(record.TypeNextProtocol, true, 0, 0), rec(record.TypeAEAD, true, 0, 15)
	end, cookie := rec(record.TypeEnd, true), rec(record.TypeCookie, false, bytes.Repeat([]byte{7}, 104)...)
	msg := func(parts ...[]byte) faultnet.KEScript { return faultnet.Message(bytes.Join(parts, nil)) }
	name := func(s string) []byte { return rec(record.TypeServer, true, []byte(s)...) }
	return []keScript{
		{name: "KC02 TLS 1.2", play: faultnet.NeverAnswers, edit: func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 }},
		{name: "KC02 no ALPN", play: faultnet.Message(faultnet.Good(104)), edit: func(c *tls.Config) { c.NextProtos = nil }},
		{name: "KC02 ALPN h2", play: faultnet.Message(faultnet.Good(104)), edit: func(c *tls.Config) { c.NextProtos = []string{"h2"} }},
		{name: "KC04 no end", play: msg(np, algo, cookie)},
		{name: "KC04 half a record", play: msg(np, algo, cookie[:50])},
		{name: "KC04 end not critical", play: msg(np, algo, cookie, rec(record.TypeEnd, false))},
		{name: "KC04 end with body", play: msg(np, algo, cookie, rec(record.TypeEnd, true, 1))},
		{name: "KC04 bytes behind the end", play: msg(np, algo, cookie, end, np)},
		{name: "KC05 error 0", play: msg(rec(record.TypeError, true, 0, 0), end)},
		{name: "KC05 error 9 and cookies", play: msg(np, algo, rec(record.TypeError, true, 0, 9), cookie, end)},
		{name: "KC06 warning", play: msg(np, algo, rec(record.TypeWarning, true, 0, 1), cookie, end)},
		{name: "KC07 unknown critical", play: msg(np, algo, rec(0x1234, true, 1), cookie, end)},
		{name: "KC08 no protocol", play: msg(algo, cookie, end)},
		{name: "KC08 protocol not offered", play: msg(rec(record.TypeNextProtocol, true, 0x80, 1), algo, cookie, end)},
		{name: "KC09 algorithm not offered", play: msg(np, rec(record.TypeAEAD, true, 0xff, 0xff), cookie, end)},
		{name: "KC09 half an algorithm", play: msg(np, rec(record.TypeAEAD, true, 0), cookie, end)},
		{name: "KC10 no cookie", play: msg(np, algo, end)},
		{name: "KC10 empty cookies", play: faultnet.Message(faultnet.WithCookies(8, 0))},
		{name: "KC10 cookie of 1 byte", play: faultnet.Message(faultnet.WithCookies(8, 1))},
		{name: "KC10 cookie of 65535 bytes", play: faultnet.Message(faultnet.WithCookies(1, 65535))},
		{name: "KC10 5000 cookies", play: faultnet.Message(faultnet.WithCookies(5000, 104)), usable: true},
		{name: "KC11 bad server name", play: msg(np, algo, cookie, name("evil\n\x1b[31m host"), end)},
		{name: "KC11 zone", play: msg(np, algo, cookie, name("fe80::1%eth0"), end)},
		{name: "KC12 port 0", play: msg(np, algo, cookie, rec(record.TypePort, true, 0, 0), end)},
		{name: "KC13 endless", play: faultnet.Endless},
		{name: "KC14 byte by byte", play: faultnet.SlowTLS},
		{name: "KC14 never answers", play: faultnet.NeverAnswers},
		{name: "KC14 half-close", play: faultnet.HalfClose},
		{name: "KC14 reset", play: faultnet.ResetAfterRequest},
		{name: "KC14 reset before TLS", play: faultnet.ResetAfterRequest, raw: true},
		{name: "KC14 handshake stalls", play: faultnet.HandshakeStall, raw: true},
		{name: "KC14 black hole", play: func(c *faultnet.KEConn) { c.Drain() }, raw: true},
		{name: "no TLS", play: faultnet.Garbage, raw: true},
		{name: "bad TLS record", play: faultnet.BadTLSRecord},
		{name: "KC20 key updates", play: faultnet.KeyUpdates},
	}
}
