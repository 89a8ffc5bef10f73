//go:build unix

package poolke

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/nts/record"
)

// sendAndReset is a user who sends his request, waits for the word and resets the connection.
func (w *testPool) sendAndReset(word <-chan struct{}) {
	w.t.Helper()
	conn := w.connect()
	if _, err := conn.Write(request15); err != nil {
		w.t.Fatal(err)
	}
	<-word
	raw := conn.NetConn().(*net.TCPConn)
	_ = raw.SetLinger(0)
	_ = raw.Close()
}

// requireGone waits until n users are counted as gone and makes sure that no time source is blamed for them.
func (w *testPool) requireGone(n uint64) {
	w.t.Helper()
	w.requireCount(UserGone, n)
	u := w.pool.snap.Load().upstreams[0]
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.breaker.failures != 0 {
		w.t.Error("the time source is blamed")
	}
	if log := w.log.String(); strings.Contains(log, `"warn"`) {
		w.t.Errorf("a user who leaves is no cause to warn: %s", log)
	}
}

// Users who ask and never read their answer keep no place from others.
func TestD3_43_NeverReads(t *testing.T) {
	w := newTestPool(t)
	w.fake("ts.example", healthy, nil)
	w.cfg.MaxConnections = 2
	w.start()
	for range w.cfg.MaxConnections {
		if _, err := w.connect().Write(request15); err != nil {
			t.Fatal(err)
		}
	}
	w.requireCount(Served, uint64(w.cfg.MaxConnections))
	for range 2 * w.cfg.MaxConnections {
		eventually(t, func() bool { _, err := w.keyExchange([]aead.Algorithm{15}); return err == nil })
	}
}

// docs/rules/pool.md#user-gone: a user resets while a time source is asked for its lists. The work ends at once and
// before keys were exported, nobody is blamed, and those who waited for the same lists get theirs.
func TestD3_43_ResetBeforeKeys(t *testing.T) {
	const leavers = breakerFailures + 1
	w := newTestPool(t)
	asked := make(chan struct{})
	f := w.fake("ts.example", func(c, n int, req *record.Request, hung <-chan struct{}) ([]byte, bool) {
		if c < leavers {
			asked <- struct{}{}
			<-hung
			return nil, false
		}
		return healthy(c, n, req, hung)
	}, nil)
	w.cfg.Timeout = time.Minute // so that none of this is due to a time limit
	w.start()
	waiting := make(chan error, 1)
	for i := range leavers {
		w.sendAndReset(asked)
		if i == leavers-1 {
			break
		}
		w.requireGone(uint64(i + 1))
	}
	go func() { _, err := w.keyExchange([]aead.Algorithm{15}); waiting <- err }()
	w.requireGone(leavers)
	if err := <-waiting; err != nil {
		t.Errorf("the next user: %v", err)
	}
	if _, keys, _ := f.seen(); len(keys) != 1 {
		t.Errorf("keys of %d users were sent", len(keys))
	}
	w.requireCount(Served, 1)
}

// docs/rules/pool.md#user-gone: a time source answers the question for its lists right after the user has reset, before
// he is watched at all. His keys do not go out.
func TestD3_43_ResetRightBeforeKeys(t *testing.T) {
	w := newTestPool(t)
	asked, answer := make(chan struct{}), make(chan struct{})
	f := w.fake("ts.example", func(c, n int, req *record.Request, hung <-chan struct{}) ([]byte, bool) {
		if c == 0 && n == 0 {
			asked <- struct{}{}
			<-answer
		}
		return healthy(c, n, req, hung)
	}, nil)
	w.start()
	w.sendAndReset(asked)
	close(answer)
	w.requireGone(1)
	if _, err := w.keyExchange([]aead.Algorithm{15}); err != nil {
		t.Errorf("the next user: %v", err)
	}
	if _, keys, _ := f.seen(); len(keys) != 1 {
		t.Errorf("keys of %d users were sent", len(keys))
	}
}

// docs/rules/pool.md#user-gone after the keys went out: the answer that comes in a moment goes to nobody, and its
// connection serves the next user, with his own cookies.
func TestD3_43_ResetAfterKeys(t *testing.T) {
	w := newTestPool(t)
	asked, answer := make(chan struct{}), make(chan struct{})
	f := w.fake("ts.example", func(c, n int, req *record.Request, hung <-chan struct{}) ([]byte, bool) {
		if req.Kind == record.Support {
			return support(true, aead.SIVCMAC256), true
		}
		if n == 1 {
			asked <- struct{}{}
			<-answer
			return cookies(aead.SIVCMAC256, func(r *record.Response) { r.Cookies = r.Cookies[:1] }), true
		}
		return healthy(c, n, req, hung)
	}, nil)
	w.start()
	w.sendAndReset(asked)
	close(answer)
	w.requireGone(1)
	if r, err := w.keyExchange([]aead.Algorithm{15}); err != nil || r.Session.Cookies() != 8 {
		t.Errorf("the next user: %v", err)
	}
	if _, keys, conns := f.seen(); len(keys) != 2 || keys[0] == keys[1] || conns > 2 {
		t.Errorf("%d keys on %d connections", len(keys), conns)
	}
}

// docs/rules/pool.md#user-gone, #idle-connections: an answer to a user who left that does not come in a moment is not
// waited for, and never reaches anybody: its connection is closed.
func TestD3_39_LateAnswerForNobody(t *testing.T) {
	w := newTestPool(t)
	asked, answer := make(chan struct{}), make(chan struct{})
	f := w.fake("ts.example", func(c, n int, req *record.Request, hung <-chan struct{}) ([]byte, bool) {
		if c == 0 && req.Kind == record.FixedKey {
			asked <- struct{}{}
			<-answer
			return cookies(aead.SIVCMAC256, func(r *record.Response) { r.Cookies = r.Cookies[:1] }), true
		}
		return healthy(c, n, req, hung)
	}, nil)
	w.cfg.Timeout, w.cfg.AnswerTimeout = time.Minute, time.Minute
	w.start()
	w.sendAndReset(asked)
	w.requireGone(1)
	close(answer)
	if r, err := w.keyExchange([]aead.Algorithm{15}); err != nil || r.Session.Cookies() != 8 {
		t.Errorf("the next user: %v", err)
	}
	if _, _, conns := f.seen(); conns != 2 {
		t.Errorf("%d connections", conns)
	}
}

// KS15: a user who ends his stream, TLS and TCP, while a time source is asked has not left.
func TestKS15_HalfCloseDuringTheWait(t *testing.T) {
	w := newTestPool(t)
	asked, answer := make(chan struct{}), make(chan struct{})
	w.fake("ts.example", fixed(func(<-chan struct{}) []byte {
		close(asked)
		<-answer
		return cookies(aead.SIVCMAC256, nil)
	}), nil)
	w.start()
	conn := w.connect()
	if _, err := conn.Write(append(bytes.Clone(request15), "and more"...)); err != nil {
		t.Fatal(err)
	}
	<-asked
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := conn.NetConn().(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * goneGrace) // the time after which a mistake would show
	close(answer)
	got, err := io.ReadAll(conn)
	if err != nil || !bytes.HasPrefix(got, unhex("80010002 0000 80040002 000f")) {
		t.Errorf("%x, %v", got, err)
	}
	w.requireCount(Served, 1)
}
