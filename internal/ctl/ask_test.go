package ctl

import (
	"bytes"
	"testing"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/nts/aead"
)

// asked is a protection that has sent one request, and that request.
func asked(t testing.TB) (*protection, []byte) {
	t.Helper()
	keys := nts.Keys{Algorithm: aead.SIVCMAC256, C2S: bytes.Repeat([]byte{1}, 32), S2C: bytes.Repeat([]byte{2}, 32)}
	s, err := nts.NewSession(nts.SessionParams{Keys: keys, Cookies: [][]byte{make([]byte, 100)}})
	if err != nil {
		t.Fatal(err)
	}
	p := &protection{session: s}
	h := ntp.Header{Version: 4, Mode: ntp.ModeClient, Transmit: 0x0102030405060708}
	buf := bytes.NewBuffer(h.AppendTo(nil))
	if err := p.ProcessQuery(buf); err != nil {
		t.Fatal(err)
	}
	return p, buf.Bytes()
}

func TestProtection_Request(t *testing.T) {
	p, req := asked(t)
	if len(req) <= ntp.HeaderLen || !bytes.Contains(req, p.uid[:]) || p.session.Cookies() != 0 {
		t.Errorf("%d bytes, %d cookies left", len(req), p.session.Cookies())
	}
	if err := p.ProcessQuery(bytes.NewBuffer(make([]byte, ntp.HeaderLen))); err == nil {
		t.Error("a request without a cookie was sent")
	}
	if err := p.ProcessQuery(bytes.NewBuffer(make([]byte, 52))); err == nil {
		t.Error("a request with foreign fields was protected")
	}
}

// Whatever arrives, only an authentic answer passes, and nothing here can make one.
func FuzzProtection_ProcessResponse(f *testing.F) {
	_, req := asked(f)
	f.Add(req)
	reply := ntp.Header{Version: 4, Mode: ntp.ModeServer, Stratum: 1, Origin: 0x0102030405060708}
	f.Add(reply.AppendTo(nil))
	f.Add(ntp.AppendField(reply.AppendTo(nil), ntp.FieldUniqueID, make([]byte, 32)))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, _ := asked(t)
		if err := p.ProcessResponse(b); err == nil {
			t.Fatal("accepted")
		}
	})
}
