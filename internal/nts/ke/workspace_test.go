package ke

import (
	"bytes"
	"crypto/rand"
	"net"
	"testing"

	"ntp-daemon/internal/accept"
	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/nts/record"
)

// sessionIn is a server session in w whose connection takes everything.
func sessionIn(s *Server, w *workspace) *serverSession {
	ours, theirs := net.Pipe()
	_ = theirs.Close()
	x := &serverSession{
		s: s, c: &accept.Conn{Conn: ours}, conn: ours, reader: NewReader(ours, record.RequestLimits),
		export: func(p record.Protocol, a aead.Algorithm) (nts.Keys, error) { return fuzzKeys(p, a), nil },
	}
	x.move(w)
	return x
}

// workspaceServer seals cookies.
func workspaceServer(t testing.TB) *Server {
	set := testKeySet(t)
	return NewServer(ServerConfig{KeySet: func() *nts.KeySet { return set }, Rand: rand.Reader})
}

// TestWorkspace_NothingIsLeft: what one connection has read is not in the memory that the next one gets, and room that a long
// request took is not kept.
func TestWorkspace_NothingIsLeft(t *testing.T) {
	s := workspaceServer(t)
	w := s.workspaces.take()
	for _, size := range []int{100, firstBuffer, firstBuffer + 1} {
		x := sessionIn(s, w)
		x.reader.buf = append(x.reader.buf, bytes.Repeat([]byte{7}, size)...)
		read := x.reader.buf
		req := record.Request{Algorithms: []aead.Algorithm{aead.SIVCMAC256}, Protocols: []record.Protocol{record.NTPv4}}
		if o, err := x.plain(&req); o != Served || err != nil {
			t.Fatal(o, err)
		}
		cookies := w.list
		x.moveOut()
		if !bytes.Equal(read, make([]byte, size)) {
			t.Errorf("a request of %d bytes is left", size)
		}
		if len(cookies) != cookiesPerRequest || cookies[0] != nil {
			t.Errorf("%d cookies are left", len(cookies))
		}
		if len(w.request)+len(w.reply)+len(w.cookies)+len(w.list) != 0 || cap(w.request) > firstBuffer || cap(w.reply) == 0 {
			t.Errorf("after %d bytes: %d of %d, %d of %d", size, len(w.request), cap(w.request), len(w.reply), cap(w.reply))
		}
		if x.space != nil || x.reply != nil || x.reader.buf != nil {
			t.Error("the session still has the workspace")
		}
	}
}

// TestWorkspace_SparesGarbage: an answer in a workspace that was used before costs a handful of allocations, none of them for
// ciphers, cookies or the message.
func TestWorkspace_SparesGarbage(t *testing.T) {
	s := workspaceServer(t)
	w := s.workspaces.take()
	x := sessionIn(s, w)
	req := record.Request{Algorithms: []aead.Algorithm{aead.SIVCMAC256}, Protocols: []record.Protocol{record.NTPv4}}
	const most = 12 // the keys, the offers and the choice
	got := testing.AllocsPerRun(100, func() {
		if o, err := x.plain(&req); o != Served || err != nil {
			t.Fatal(o, err)
		}
		w.sealer.Forget()
	})
	if got > most {
		t.Errorf("%v allocations, want at most %d", got, most)
	}
}

// chunks is a connection whose reads yield one piece each.
type chunks struct {
	net.Conn
	pieces [][]byte
}

func (c *chunks) Read(b []byte) (int, error) {
	if len(c.pieces) == 0 {
		return 0, net.ErrClosed
	}
	n := copy(b, c.pieces[0])
	if c.pieces[0] = c.pieces[0][n:]; len(c.pieces[0]) == 0 {
		c.pieces = c.pieces[1:]
	}
	return n, nil
}

// TestGatedConn_HelloInPieces: a first record of any length, in pieces or at once, arrives as it was sent, is taken in pieces of
// any size, and what comes behind it follows. Its room is had by the connection until the last piece is taken.
func TestGatedConn_HelloInPieces(t *testing.T) {
	for _, n := range []int{4, 100, helloBuffer - recordHeader, helloBuffer, 3 * helloBuffer, longestRecord} {
		for _, size := range []int{1, 7, 512, 1 << 15} {
			whole := helloRecord(n)
			for i := recordHeader + 1; i < len(whole); i++ {
				whole[i] = byte(i * 31)
			}
			in := &chunks{}
			for rest := whole; len(rest) > 0; {
				k := min(size, len(rest))
				in.pieces, rest = append(in.pieces, bytes.Clone(rest[:k])), rest[k:]
			}
			c := NewGate(1).Conn(in)
			c.rooms = &helloRooms{}
			var got []byte
			b := make([]byte, size)
			for len(got) < len(whole) {
				if got != nil && c.room == nil {
					t.Fatalf("%d bytes by %d: the room is given back before the end", n, size)
				}
				k, err := c.Read(b)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, b[:k]...)
			}
			if !bytes.Equal(got, whole) {
				t.Errorf("%d bytes by %d: something else came out", n, size)
			}
			if c.room != nil || c.hello != nil {
				t.Errorf("%d bytes by %d: the room is not given back", n, size)
			}
		}
	}
}
