package loadgen

import (
	"crypto/rand"
	"encoding/binary"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/nts/aead"
)

// answerTo is a server's answer with this origin stamp.
func answerTo(origin uint64) []byte {
	b := make([]byte, headerSize)
	b[0], b[atStratum] = 4<<3|modeServer, 1
	binary.BigEndian.PutUint64(b[atOrigin:], origin)
	binary.BigEndian.PutUint64(b[atReceive:], 7)
	return b
}

// TestAnswers: each answer belongs to one request, once; all others have a count of their own.
func TestAnswers(t *testing.T) {
	j := judge{places: newPlaces(4, 1), since: 10}
	early := *j.places.take(5, 0)
	first := *j.places.take(20, 0)
	refused := *j.places.take(30, 0)
	unknown := *j.places.take(40, 0)
	j.answer(answerTo(early.transmit), 25)
	j.answer(answerTo(first.transmit), 25)
	j.answer(answerTo(first.transmit), 26)
	j.answer(answerTo(first.transmit^1<<60), 26)
	j.answer(answerTo(0), 26)
	kod := answerTo(refused.transmit)
	kod[atStratum] = 0
	copy(kod[atReference:], "RATE")
	j.answer(kod, 27)
	lost := answerTo(unknown.transmit)
	lost[0] |= leapUnknown << 6
	j.answer(lost, 60)
	j.answer(lost[:47], 60)
	own := answerTo(unknown.transmit)
	own[0] = requestFlags
	j.answer(own, 60)
	want := Counts{Valid: 2, Early: 1, Repeated: 1, Unmatched: 2, Kiss: 1, Unsynced: 1, Malformed: 2, AnswerBytes: headerSize}
	if j.Counts != want {
		t.Errorf("%+v, want %+v", j.Counts, want)
	}
	if j.took.n != 2 || j.took.longest != 20 {
		t.Errorf("%d timed, the longest %v", j.took.n, j.took.longest)
	}
}

// TestAnswers_Overtaken: a place that is used again has lost the request of before.
func TestAnswers_Overtaken(t *testing.T) {
	j := judge{places: newPlaces(2, 1)}
	old := *j.places.take(1, 0)
	j.places.take(2, 0)
	again := *j.places.take(3, 0)
	j.answer(answerTo(old.transmit), 4)
	j.answer(answerTo(again.transmit), 5)
	if j.Valid != 1 || j.Unmatched != 1 {
		t.Errorf("%+v", j.Counts)
	}
}

// TestInterleaved: the first request is a basic one; the next returns the server's receive stamp, its own two stamps differ, and
// both answers are known apart.
func TestInterleaved(t *testing.T) {
	j := judge{places: newPlaces(2, 1)}
	pl := j.places.take(1, 0)
	j.places.interleave(pl)
	if pl.receive != 0 {
		t.Fatal("nothing to be interleaved with")
	}
	j.answer(answerTo(pl.transmit), 2)
	j.places.take(2, 0)
	pl = j.places.take(3, 0)
	j.places.interleave(pl)
	if pl.receive == 0 || pl.receive == pl.transmit || pl.server != 7 {
		t.Fatalf("%+v", pl)
	}
	j.answer(answerTo(pl.receive), 4)
	pl = j.places.take(5, 0) // of the other place, which had no answer
	j.places.interleave(pl)
	j.answer(answerTo(pl.transmit), 6)
	pl = j.places.take(7, 0)
	j.places.interleave(pl)
	j.answer(answerTo(pl.transmit), 8) // a server may always give a basic answer
	if j.Valid != 4 || j.Interleaved != 1 || j.Unmatched != 0 {
		t.Errorf("%+v", j.Counts)
	}
}

// server answers requests with NTS as ours does.
type server struct {
	keys   *nts.KeySet
	sealer *nts.Sealer
}

func newServer(t *testing.T, a aead.Algorithm) (*server, keys) {
	t.Helper()
	master, err := nts.NewMasterKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{nts.NewKeySet(master, 1), nts.NewSealer()}
	size, _ := a.KeySize()
	k := keys{Keys: nts.Keys{Algorithm: a, C2S: make([]byte, size), S2C: make([]byte, size)}}
	k.S2C[0] = 1
	for range 2 {
		k.cookies = append(k.cookies, s.sealer.Seal(nil, s.keys, &k.Keys, rand.Reader))
	}
	return s, k
}

func (s *server) answer(t *testing.T, b []byte) []byte {
	t.Helper()
	var f ntp.Fields
	if err := f.Trailer(b, 4); err != nil {
		t.Fatal(err)
	}
	var r nts.Request
	if v := r.Open(b, &f, s.keys, s.sealer); v != nts.Valid {
		t.Fatalf("the request is %v", v)
	}
	out, ok := r.AppendResponse(answerTo(binary.BigEndian.Uint64(b[atTransmit:])), s.keys, s.sealer, rand.Reader, len(b))
	if !ok {
		t.Fatalf("no answer fits into %d bytes", len(b))
	}
	return out
}

// TestNTS: requests are what a server of ours accepts, and an answer counts only if its identifier and authenticator are right.
func TestNTS(t *testing.T) {
	for _, a := range []aead.Algorithm{aead.SIVCMAC256, aead.SIVCMAC512, aead.GCMSIV128} {
		t.Run(a.String(), func(t *testing.T) {
			s, k := newServer(t, a)
			j := judge{places: newPlaces(4, 1)}
			var err error
			if j.nts, err = associate(k, j.places, rand.Reader); err != nil {
				t.Fatal(err)
			}
			ask := func() []byte {
				b := j.nts.requests[j.places.next%4]
				j.places.take(1, binary.BigEndian.Uint64(b[atTransmit:]))
				return s.answer(t, b)
			}
			forged := ask()
			forged[len(forged)-1] ^= 1
			j.answer(forged, 2)
			other := ask()
			other[headerSize+fieldHead] ^= 1
			j.answer(other, 2)
			j.answer(answerTo(j.places.list[1].transmit), 2)
			j.answer(ask(), 2)
			if j.Valid != 1 || j.Opened != 1 || j.Forged != 3 {
				t.Errorf("%+v", j.Counts)
			}
		})
	}
}

// TestNothingIsAllocated while it measures, so that no collection of garbage shows in the figures.
func TestNothingIsAllocated(t *testing.T) {
	s, k := newServer(t, aead.SIVCMAC256)
	plain := judge{places: newPlaces(16, 1)}
	sealed := judge{places: newPlaces(16, 1)}
	var err error
	if sealed.nts, err = associate(k, sealed.places, rand.Reader); err != nil {
		t.Fatal(err)
	}
	answer := s.answer(t, sealed.nts.requests[0])
	b, now := answerTo(0), time.Duration(0)
	if n := testing.AllocsPerRun(1000, func() {
		now++
		pl := plain.places.take(now, 0)
		plain.places.interleave(pl)
		binary.BigEndian.PutUint64(b[atOrigin:], pl.transmit)
		plain.answer(b, now)
		sealed.places.next = 0
		sealed.places.take(now, binary.BigEndian.Uint64(sealed.nts.requests[0][atTransmit:]))
		sealed.Valid = 0 // so that each is opened
		sealed.answer(answer, now)
	}); n != 0 {
		t.Errorf("%v allocations for each answer", n)
	}
	if plain.Valid == 0 || sealed.Opened == 0 {
		t.Errorf("%+v %+v", plain.Counts, sealed.Counts)
	}
}
