package nts

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"os"
	"testing"
	"time"

	"ntp-daemon/internal/nts/aead"
)

var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

func TestCookie_Sizes(t *testing.T) {
	for a, want := range map[aead.Algorithm]int{15: 104, 16: 136, 17: 168, 30: 72} {
		s := newTestServer(t, a)
		if n := len(s.cookie()); n != want || cookieSize(a) != want {
			t.Errorf("%v: %d bytes, want %d", a, n, want)
		}
	}
}

func TestCookie_RoundTripAndUntouchedOnFailure(t *testing.T) {
	for _, a := range algorithms {
		s := newTestServer(t, a)
		cookie := s.cookie()
		var k Keys
		if !s.seal.Open(s.ks, cookie, &k) || !sameKeys(k, s.keys) {
			t.Errorf("%v: cookie does not open", a)
		}
		if s.seal.Open(s.ks, flip(cookie, 300), &k) || s.seal.Open(nil, cookie, &k) || !sameKeys(k, s.keys) {
			t.Errorf("%v: a bad cookie opens or changes the keys", a)
		}
		if bytes.Equal(cookie, s.cookie()) {
			t.Errorf("%v: two cookies are the same", a)
		}
	}
	s := newTestServer(t, aead.SIVCMAC256)
	if len(s.seal.Seal(nil, nil, &s.keys, s.rnd)) != 0 {
		t.Error("sealed without a key set")
	}
}

func TestN19_RotationAndRestart(t *testing.T) {
	const stale = 3
	s := newTestServer(t, aead.SIVCMAC256)
	s.ks = NewKeySet(masterKey(t, 1), stale)
	old := s.cookie()
	for n := 1; n <= stale+2; n++ {
		s.ks = s.ks.Rotate(masterKey(t, byte(1+n)))
		if got, want := s.seal.Open(s.ks, old, new(Keys)), n <= stale; got != want {
			t.Errorf("after %d rotations the cookie opens: %v, want %v", n, got, want)
		}
		if len(s.ks.keys) != min(n, stale)+1 {
			t.Errorf("after %d rotations %d keys", n, len(s.ks.keys))
		}
		fresh := s.cookie()
		ks, rotated, err := UnmarshalKeySet(s.ks.Marshal(noon), noon.Add(time.Hour), stale)
		if err != nil || !rotated.Equal(noon) {
			t.Fatalf("restart: %v, rotated %v", err, rotated)
		}
		restarted := NewSealer()
		if !restarted.Open(ks, fresh, new(Keys)) || restarted.Open(ks, old, new(Keys)) != (n <= stale) {
			t.Errorf("after %d rotations a restart is noticed", n)
		}
		if !s.seal.Open(s.ks, restarted.Seal(nil, ks, &s.keys, s.rnd), new(Keys)) {
			t.Errorf("after %d rotations a cookie of the restarted server does not open", n)
		}
	}
	if s.open(func() []byte { s2 := newTestServer(t, aead.SIVCMAC256); return s2.request(0) }()) != SendNAK {
		t.Error("request with a cookie from before the history: no NAK")
	}
	if len(NewKeySet(masterKey(t, 1), 0).Rotate(masterKey(t, 2)).keys) != 1 {
		t.Error("stale 0 keeps a key")
	}
	if len(NewKeySet(masterKey(t, 1), -5).Rotate(masterKey(t, 2)).keys) != 1 || NewKeySet(masterKey(t, 1), math.MaxInt).stale != maxKeys-1 {
		t.Error("stale not clamped")
	}
}

func TestKeySet_LoadKeepsNoMoreThanAsked(t *testing.T) {
	ks := NewKeySet(masterKey(t, 1), 9)
	for i := range byte(9) {
		ks = ks.Rotate(masterKey(t, 2+i))
	}
	for stale, want := range map[int]int{0: 1, 4: 5, 9: 10, 20: 10} {
		got, _, err := UnmarshalKeySet(ks.Marshal(noon), noon, stale)
		if err != nil || len(got.keys) != want || got.keys[0].id != ks.keys[0].id {
			t.Errorf("stale %d: %d keys, %v", stale, len(got.keys), err)
		}
	}
}

// foreignFile is a key file as ntpd-rs writes it.
func foreignFile(seconds uint64, offset, primary, count uint32, keys int) []byte {
	b := binary.BigEndian.AppendUint64(nil, seconds)
	b = binary.BigEndian.AppendUint32(b, offset)
	b = binary.BigEndian.AppendUint32(b, primary)
	b = binary.BigEndian.AppendUint32(b, count)
	return append(b, draw(random(7), 64*keys)...)
}

func TestN20_DamagedKeyFiles(t *testing.T) {
	now := uint64(noon.Unix())
	ours := NewKeySet(masterKey(t, 1), 7).Rotate(masterKey(t, 2)).Rotate(masterKey(t, 3)).Marshal(noon)
	theirs := foreignFile(now-60, 5, 2, 3, 3)
	refuse := func(name string, b []byte) {
		t.Helper()
		if ks, _, err := UnmarshalKeySet(b, noon, 7); !errors.Is(err, ErrKeyFile) || ks != nil {
			t.Errorf("%s: loaded, error %v", name, err)
		}
	}
	for _, b := range [][]byte{ours, theirs} {
		if _, _, err := UnmarshalKeySet(b, noon, 7); err != nil {
			t.Fatalf("good file: %v", err)
		}
		for n := range b {
			refuse("truncated", b[:n])
		}
		refuse("one byte more", append(bytes.Clone(b), 0))
		refuse("one key more", append(bytes.Clone(b), make([]byte, 64)...))
	}
	for bit := range len(ours) * 8 {
		refuse("flipped bit", flip(ours, bit))
	}
	for n := range 400 {
		refuse("zeros", make([]byte, n))
		refuse("random", draw(random(byte(n)), n))
		refuse("named random", append([]byte(keyFileMagic), draw(random(byte(n)), n)...))
	}
	refuse("primary == len", foreignFile(now, 0, 3, 3, 3))
	refuse("primary > len", foreignFile(now, 0, 1<<31, 3, 3))
	refuse("no keys", foreignFile(now, 0, 0, 0, 0))
	refuse("huge count", foreignFile(now, 0, 0, 1<<32-1, 3))
	refuse("count that wraps 32 bits", foreignFile(now, 0, 0, 1<<26, 0))
	refuse("future, ntpd-rs", foreignFile(now+2*86400, 0, 2, 3, 3))
	refuse("end of time, ntpd-rs", foreignFile(1<<64-1, 0, 2, 3, 3))
	refuse("future, ours", NewKeySet(masterKey(t, 1), 7).Marshal(noon.Add(25*time.Hour)))
	refuse("key of zeros, ours", NewKeySet(MasterKey{}, 7).Marshal(noon))
	refuse("key of zeros, ntpd-rs", append(foreignFile(now, 0, 0, 1, 0), make([]byte, 64)...))
}

func TestN20_FutureWithinADayIsNow(t *testing.T) {
	b := NewKeySet(masterKey(t, 1), 7).Marshal(noon.Add(3 * time.Hour))
	_, rotated, err := UnmarshalKeySet(b, noon, 7)
	if err != nil || rotated.After(noon) {
		t.Errorf("rotated %v, %v", rotated, err)
	}
	// A clock before 1970 sees every file in the future and must not wrap.
	if _, _, err := UnmarshalKeySet(b, time.Unix(-1e9, 0), 7); !errors.Is(err, ErrKeyFile) {
		t.Errorf("clock before 1970: %v", err)
	}
}

// TestForeignKeyFile: clients of ntpd-rs keep their cookies when the host changes to us.
func TestForeignKeyFile(t *testing.T) {
	var file struct {
		NtpdRs []struct {
			Algorithm      aead.Algorithm
			C2S, S2C, File string
			Cookies        []string
		} `json:"ntpd-rs"`
	}
	b, err := os.ReadFile("testdata/packets.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	for _, v := range file.NtpdRs {
		want := Keys{Algorithm: v.Algorithm, C2S: unhex(t, v.C2S), S2C: unhex(t, v.S2C)}
		ks, rotated, err := UnmarshalKeySet(unhex(t, v.File), noon, 7)
		if err != nil || rotated.Unix() != 1_700_000_000 || len(ks.keys) != 3 {
			t.Fatalf("%v: %v", rotated, err)
		}
		s := NewSealer()
		check := func(when string, ks *KeySet) {
			t.Helper()
			for i, c := range v.Cookies {
				var k Keys
				if !s.Open(ks, unhex(t, c), &k) || !sameKeys(k, want) {
					t.Errorf("%s: cookie %d of ntpd-rs does not open", when, i)
				}
				for bit := range len(c) * 4 {
					if s.Open(ks, flip(unhex(t, c), bit), new(Keys)) {
						t.Fatalf("%s: cookie %d opens with bit %d flipped", when, i, bit)
					}
				}
			}
		}
		check("loaded", ks)
		ks = ks.Rotate(masterKey(t, 1))
		check("rotated", ks)
		again, _, err := UnmarshalKeySet(ks.Marshal(noon), noon, 7)
		if err != nil {
			t.Fatal(err)
		}
		check("written in our format", again)
		if cookie := s.Seal(nil, again, &want, random(1)); !s.Open(ks, cookie, new(Keys)) {
			t.Error("our cookie does not open")
		}
		// The other layout is tried for keys of ntpd-rs only.
		for i := range again.keys {
			again.keys[i].foreign = false
		}
		if s.Open(again, unhex(t, v.Cookies[0]), new(Keys)) {
			t.Error("foreign layout opens under a key of ours")
		}
	}
}
