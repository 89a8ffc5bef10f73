package nts

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"testing"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/secret"
)

var algorithms = []aead.Algorithm{aead.SIVCMAC256, aead.SIVCMAC384, aead.SIVCMAC512, aead.GCMSIV128}

// random returns a reproducible source of random bytes.
func random(seed byte) *rand.ChaCha8 { return rand.NewChaCha8([32]byte{seed}) }

func draw(r *rand.ChaCha8, n int) []byte {
	b := make([]byte, n)
	_, _ = r.Read(b)
	return b
}

func testKeys(a aead.Algorithm, seed byte) Keys {
	n, _ := a.KeySize()
	r := random(seed)
	return Keys{Algorithm: a, C2S: draw(r, n), S2C: draw(r, n)}
}

func masterKey(t testing.TB, seed byte) MasterKey {
	t.Helper()
	m, err := NewMasterKey(random(seed))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// testServer is a server and its keys for one client.
type testServer struct {
	ks   *KeySet
	seal *Sealer
	keys Keys
	rnd  *rand.ChaCha8
	req  Request
}

func newTestServer(t testing.TB, a aead.Algorithm) *testServer {
	t.Helper()
	return &testServer{ks: NewKeySet(masterKey(t, 1), 7), seal: NewSealer(), keys: testKeys(a, 2), rnd: random(3)}
}

func (s *testServer) cookie() []byte { return s.seal.Seal(nil, s.ks, &s.keys, s.rnd) }

func (s *testServer) cookies(n int) (all [][]byte) {
	for range n {
		all = append(all, s.cookie())
	}
	return all
}

func (s *testServer) session(t testing.TB, cookies int) *Session {
	t.Helper()
	c, err := NewSession(SessionParams{Keys: s.keys, Cookies: s.cookies(cookies)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// open judges a packet as the server does.
func (s *testServer) open(pkt []byte) RequestVerdict {
	var f ntp.Fields
	if f.Trailer(pkt, pkt[0]>>3&7) != nil {
		return Drop
	}
	return s.req.Open(pkt, &f, s.ks, s.seal)
}

// answer is the reply to a packet that open found valid; nil if none fits.
func (s *testServer) answer(pkt []byte) []byte {
	reply, ok := s.req.AppendResponse(replyHeader(pkt), s.ks, s.seal, s.rnd, len(pkt))
	if !ok {
		return nil
	}
	return reply
}

// judge is what the client makes of a reply.
func judge(t testing.TB, c *Session, reply, uid []byte) ResponseVerdict {
	t.Helper()
	var f ntp.Fields
	if err := f.Trailer(reply, 4); err != nil {
		return Malformed
	}
	return c.OpenResponse(reply, &f, uid)
}

// header is a client's header with transmit timestamp 1.
func header() []byte {
	h := ntp.Header{Version: 4, Mode: ntp.ModeClient, Precision: 0x20, Transmit: 1}
	return h.AppendTo(nil)
}

func replyHeader(request []byte) []byte {
	q, _ := ntp.ParseHeader(request)
	h := ntp.Header{Version: 4, Mode: ntp.ModeServer, Stratum: 2, Origin: q.Transmit, Receive: 2, Transmit: 3}
	return h.AppendTo(nil)
}

func testUID(seed byte) []byte { return draw(random(seed), 32) }

// rawField is an extension field exactly as told, without padding or minimum.
func rawField(t ntp.FieldType, value []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(t))
	b = binary.BigEndian.AppendUint16(b, uint16(4+len(value)))
	return append(b, value...)
}

// sealed appends a right authenticator for what is before it.
func (s *testServer) sealed(pkt, inner []byte) []byte {
	c, err := newCipher(s.keys.Algorithm, s.keys.C2S)
	if err != nil {
		panic(err)
	}
	return appendAuthenticator(pkt, c, draw(s.rnd, s.keys.Algorithm.NonceSize()), inner)
}

// request is a right request with k placeholders.
func (s *testServer) request(k int) []byte {
	pkt := ntp.AppendField(header(), ntp.FieldUniqueID, testUID(1))
	cookie := s.cookie()
	pkt = ntp.AppendField(pkt, ntp.FieldCookie, cookie)
	for range k {
		pkt = ntp.AppendField(pkt, ntp.FieldCookiePlaceholder, make([]byte, len(cookie)))
	}
	return s.sealed(pkt, nil)
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func sameKeys(a, b Keys) bool {
	return a.Algorithm == b.Algorithm && secret.Bytes.Equal(a.C2S, b.C2S) && secret.Bytes.Equal(a.S2C, b.S2C)
}

func flip(b []byte, bit int) []byte {
	c := append([]byte(nil), b...)
	c[bit/8] ^= 1 << (bit % 8)
	return c
}

// newCipher is a cipher with a key.
func newCipher(a aead.Algorithm, key []byte) (*aead.Cipher, error) {
	c := new(aead.Cipher)
	return c, c.Rekey(a, key)
}

// innerField appends a field for the encrypted part, where the minimum is four bytes.
func innerField(dst []byte, t ntp.FieldType, value []byte) []byte {
	n := (fieldHeader + len(value) + 3) &^ 3
	dst = binary.BigEndian.AppendUint16(dst, uint16(t))
	dst = append(binary.BigEndian.AppendUint16(dst, uint16(n)), value...)
	return append(dst, make([]byte, n-fieldHeader-len(value))...)
}
