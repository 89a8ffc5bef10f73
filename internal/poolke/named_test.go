package poolke

import (
	"bytes"
	"crypto/tls"
	"testing"
	"time"

	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/nts/record"
	"ntp-daemon/internal/secret"
)

// monitorRequest is what a monitor of the public pool sends.
func monitorRequest(key, id string) []byte {
	r := record.Request{
		Dialect: record.IANA, Token: secret.Bytes(key), UUID: id,
		Protocols: []record.Protocol{record.NTPv4}, Algorithms: []aead.Algorithm{17, 15},
	}
	return r.Append(nil)
}

// code is an Error message.
func code(c record.ErrorCode) []byte { return record.AppendError(nil, c) }

// TestMonitorRequest: the one time source that a monitor names answers, and nobody else; how it failed is told in codes that
// only who has proved a key sees.
func TestMonitorRequest(t *testing.T) {
	refusing := func(c record.ErrorCode) script { return fixed(func(<-chan struct{}) []byte { return code(c) }) }
	hanging := fixed(func(hung <-chan struct{}) []byte { <-hung; return nil })
	silent := func(_, _ int, _ *record.Request, _ <-chan struct{}) ([]byte, bool) {
		return code(record.CodeInternal), false
	}
	w := newTestPool(t)
	other := w.fake("other.example", healthy, nil)
	for _, m := range []struct {
		id     string
		script script
	}{
		{"uuid", healthy}, {"refuses-0", refusing(0)}, {"refuses-1", refusing(1)}, {"fails", refusing(2)},
		{"private", refusing(0xf001)}, {"hangs", hanging}, {"cannot-say", silent},
	} {
		w.fake(m.id+".example", m.script, nil)
		w.cfg.Backends[len(w.cfg.Backends)-1].ID = m.id
		w.cfg.Backends[len(w.cfg.Backends)-1].Weight = 0
	}
	w.dead("dead.example")
	w.cfg.Backends[len(w.cfg.Backends)-1].ID = "dead"
	w.fake("stranger.example", healthy, func(c *tls.Config) { c.Certificates = []tls.Certificate{w.ca.Leaf("elsewhere.example")} })
	w.cfg.Backends[len(w.cfg.Backends)-1].ID = "stranger"
	w.cfg.MonitoringKeys = []secret.Bytes{secret.Bytes("first-key"), secret.Bytes("key")}
	w.cfg.AnswerTimeout = 500 * time.Millisecond
	w.start()
	for range 3 { // out of the draw for every reason that there is
		w.pool.snap.Load().upstreams[1].fail(time.Now(), errNoServer)
	}

	// The bytes as the public pool's monitor sends them: key "key", name "uuid".
	vector := unhex("000e0003 6b6579 cf010004 75756964 80010002 0000 80040004 0011000f 80000000")
	if sent := monitorRequest("key", "uuid"); !bytes.Equal(sent, vector) {
		t.Errorf("sent %x, want %x", sent, vector)
	}
	for _, row := range []struct {
		story   string
		request []byte
		want    []byte // nil: an answer with cookies
	}{
		{"served by the one that is named", vector, nil},
		{"with the other key", monitorRequest("first-key", "uuid"), nil},
		{"by name of an entry without an id", monitorRequest("key", w.cfg.Backends[0].String()), nil},
		{"wrong key", monitorRequest("kez", "uuid"), error1},
		{"a part of the key", monitorRequest("ke", "uuid"), error1},
		{"wrong key and unknown name", monitorRequest("kez", "nobody"), error1},
		{"unknown name", monitorRequest("key", "nobody"), unhex("80020002 f000 80000000")},
		{"another case", monitorRequest("key", "UUID"), unhex("80020002 f000 80000000")},
		{"dead", monitorRequest("key", "dead"), unhex("80020002 f001 80000000")},
		{"another certificate", monitorRequest("key", "stranger"), unhex("80020002 f001 80000000")},
		{"does not say what it can do", monitorRequest("key", "cannot-say"), unhex("80020002 f002 80000000")},
		{"refuses keys with 0", monitorRequest("key", "refuses-0"), unhex("80020002 f003 80000000")},
		{"refuses keys with 1", monitorRequest("key", "refuses-1"), unhex("80020002 f003 80000000")},
		{"fails", monitorRequest("key", "fails"), error2},
		{"sends a private code of its own", monitorRequest("key", "private"), error2},
		{"hangs", monitorRequest("key", "hangs"), error2},
	} {
		answer, _ := w.ask(row.request)
		if row.want != nil {
			if !bytes.Equal(answer, row.want) {
				t.Errorf("%s: %x, want %x", row.story, answer, row.want)
			}
			continue
		}
		if r, fault := record.ParseResponse(answer, record.Offer{Protocols: []record.Protocol{0}, Algorithms: []aead.Algorithm{17, 15}}); fault != record.None || len(r.Cookies) != 8 {
			t.Errorf("%s: %v, %x", row.story, fault, answer)
		}
	}
	eventually(t, func() bool { return w.pool.monitors.read()["server_failed"] == 5 })
	users, monitors := w.pool.tally.read(), w.pool.monitors.read()
	if monitors["served"] != 3 || monitors["no_server"] != 5 || users["served"] != 0 || users["bad_key"] != 3 {
		t.Errorf("monitors %v, users %v", monitors, users)
	}
	if _, keys, _ := other.seen(); len(keys) != 1 {
		t.Errorf("%d keys went to the time source that was named once", len(keys))
	}
	if u := w.pool.snap.Load().upstreams[1]; u.tally.read()["served"] != 0 {
		t.Error("monitors count as users of a time source")
	}
}

// TestUsersSeeNoPrivateCodes: whatever becomes of the exchange, a user sees error 2, and a user's token changes nothing.
func TestUsersSeeNoPrivateCodes(t *testing.T) {
	for name, s := range map[string]script{
		"refuses": fixed(func(<-chan struct{}) []byte { return code(1) }),
		"private": fixed(func(<-chan struct{}) []byte { return code(record.CodeUnreachable) }),
		"silent":  func(_, _ int, _ *record.Request, _ <-chan struct{}) ([]byte, bool) { return code(2), false },
	} {
		w := newTestPool(t)
		w.fake("a.example", s, nil)
		w.cfg.MonitoringKeys = []secret.Bytes{secret.Bytes("key")}
		w.start()
		r := record.Request{Dialect: record.IANA, Token: secret.Bytes("key"), Protocols: []record.Protocol{0}, Algorithms: []aead.Algorithm{15}}
		for _, request := range [][]byte{request15, r.Append(nil)} {
			if answer, _ := w.ask(request); !bytes.Equal(answer, error2) {
				t.Errorf("%s: %x", name, answer)
			}
		}
	}
}
