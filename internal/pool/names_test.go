package pool

import (
	"errors"
	"strings"
	"testing"
)

func mustDirectory(t *testing.T, own []string, backends ...Backend) *Directory {
	t.Helper()
	d, err := NewDirectory(backends, own)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestCheckServerName is the list of docs/rules/pool.md#server-names, one row per kind of name.
func TestCheckServerName(t *testing.T) {
	seed := Backend{Domain: "ts1.example.net", Port: 4460}
	listed := Backend{Domain: "ts2.example.net", Port: 4460, Names: []string{"ntp.ts2.example.net", "10.1.2.3"}}
	local := Backend{Domain: "localhost", Port: 8080}
	private := Backend{Domain: "192.168.1.4", Port: 4460}
	own := []string{"pool.example.org", "*.ke.example.org", "localhost", "203.0.113.7"}
	d := mustDirectory(t, own, seed, listed, local, private)

	long := strings.Repeat("a23456789012345678901234567890123456789012345678901234567890.", 4)
	for _, tt := range []struct {
		story string
		b     *Backend
		name  string
		want  error
	}{
		{"the domain itself", &seed, "ts1.example.net", nil},
		{"the domain in capitals with a trailing dot", &seed, "TS1.Example.NET.", nil},
		{"someone else's public host, seed-style entry", &seed, "time.example.com", nil},
		{"underscore and digits", &seed, "ntp_1.4you.example", nil},
		{"an A-label", &seed, "xn--zeit-3ra.example", nil},
		{"a U-label", &seed, "zeït.example", ErrNameMalformed},
		{"public IPv4", &seed, "198.51.100.4", nil},
		{"public IPv6", &seed, "2001:500:8f::53", nil},
		{"empty", &seed, "", ErrNameEmpty},
		{"256 bytes", &seed, strings.Repeat("a", 256), ErrNameLong},
		{"254 bytes of labels", &seed, long + "abcdefghij", ErrNameMalformed},
		{"label of 64", &seed, strings.Repeat("a", 64) + ".example", ErrNameMalformed},
		{"only a dot", &seed, ".", ErrNameMalformed},
		{"two dots in a row", &seed, "a..example", ErrNameMalformed},
		{"NUL", &seed, "ts1.example.net\x00", ErrNameMalformed},
		{"line feed", &seed, "ts1\n.example.net", ErrNameMalformed},
		{"blank", &seed, "ts1 example.net", ErrNameMalformed},
		{"hyphen first", &seed, "-a.example", ErrNameMalformed},
		{"bracketed IPv6", &seed, "[2001:500:8f::53]", ErrNameMalformed},
		{"IPv6 with zone", &seed, "fe80::1%eth0", ErrNameMalformed},
		{"short form of a loopback address", &seed, "127.1", ErrNameMalformed},
		{"number as address", &seed, "2130706433", ErrNameMalformed},
		{"hexadecimal address", &seed, "0x7f000001", ErrNameMalformed},
		{"bare 0x", &seed, "a.0x", ErrNameMalformed},
		{"localhost", &seed, "localhost", ErrNameOwn},
		{"below localhost", &seed, "a.LOCALHOST.", ErrNameLocal},
		{"loopback", &seed, "127.0.0.1", ErrNameLocal},
		{"loopback IPv6", &seed, "::1", ErrNameLocal},
		{"mapped loopback", &seed, "::ffff:127.0.0.1", ErrNameLocal},
		{"private", &seed, "10.0.0.1", ErrNameLocal},
		{"unique local", &seed, "fd00::1", ErrNameLocal},
		{"link-local", &seed, "169.254.7.7", ErrNameLocal},
		{"link-local IPv6", &seed, "fe80::1", ErrNameLocal},
		{"shared address space", &seed, "100.64.0.1", ErrNameLocal},
		{"multicast", &seed, "224.0.1.1", ErrNameLocal},
		{"broadcast", &seed, "255.255.255.255", ErrNameLocal},
		{"unspecified", &seed, "0.0.0.0", ErrNameLocal},
		{"the pool", &seed, "Pool.Example.org.", ErrNameOwn},
		{"the pool's address", &seed, "::ffff:203.0.113.7", ErrNameOwn},
		{"below the pool's wildcard, as other time sources are", &seed, "1.ke.example.org", nil},
		{"below the pool's wildcard, the name by which the user came", &seed, "2.KE.example.org.", ErrNameOwn},
		{"two labels below the wildcard", &seed, "a.1.ke.example.org", nil},
		{"listed name", &listed, "NTP.ts2.example.net", nil},
		{"listed private address", &listed, "10.1.2.3", nil},
		{"unlisted although public", &listed, "time.example.com", ErrNameUnlisted},
		{"the domain beside a list", &listed, "ts2.example.net", nil},
		{"localhost as domain, although the pool's own", &local, "localhost", nil},
		{"private address as domain", &private, "192.168.1.4", nil},
	} {
		t.Run(tt.story, func(t *testing.T) {
			if got := d.CheckServerName(tt.b, tt.name, Expected{Reached: "2.ke.example.org"}); !errors.Is(got, tt.want) || (tt.want == nil) != (got == nil) {
				t.Errorf("CheckServerName(%q) = %v, want %v", tt.name, got, tt.want)
			}
		})
	}
}

// TestCheckServerName_Listed: a list that a time source gave of itself binds it where the operator wrote none, and exempts
// no name.
func TestCheckServerName_Listed(t *testing.T) {
	plain := Backend{Domain: "ts1.example.net", Port: 4460}
	configured := Backend{Domain: "ts2.example.net", Port: 4460, Names: []string{"ntp.ts2.example.net"}}
	d := mustDirectory(t, []string{"pool.example.org"}, plain, configured)
	list := []string{"NTP.example.net.", "10.1.2.3", "pool.example.org"}
	for _, tt := range []struct {
		story string
		b     *Backend
		list  []string
		name  string
		want  error
	}{
		{"no list", &plain, nil, "time.example.com", nil},
		{"on the list", &plain, list, "ntp.example.net", nil},
		{"not on it", &plain, list, "time.example.com", ErrNameUnlisted},
		{"the domain", &plain, list, "ts1.example.net", nil},
		{"an empty list: the domain", &plain, []string{}, "ts1.example.net", nil},
		{"an empty list: anything else", &plain, []string{}, "ntp.example.net", ErrNameUnlisted},
		{"private, although listed", &plain, list, "10.1.2.3", ErrNameLocal},
		{"the pool, although listed", &plain, list, "pool.example.org", ErrNameOwn},
		{"configured, although not listed", &configured, list, "ntp.ts2.example.net", nil},
		{"listed, but others are configured", &configured, list, "ntp.example.net", ErrNameUnlisted},
	} {
		if got := d.CheckServerName(tt.b, tt.name, Expected{Names: tt.list}); !errors.Is(got, tt.want) || (tt.want == nil) != (got == nil) {
			t.Errorf("%s: %v, want %v", tt.story, got, tt.want)
		}
	}
}

func TestCanonicalName(t *testing.T) {
	for in, want := range map[string]string{
		"TS.Example.": "ts.example", "::FFFF:192.0.2.1": "192.0.2.1", "2001:0db8::0:1": "2001:db8::1", "": "", ".": "",
		"fe80::1%lo": "fe80::1%lo",
	} {
		if got := CanonicalName(in); got != want {
			t.Errorf("CanonicalName(%q) = %q, want %q", in, got, want)
		}
	}
}

// FuzzServerName: whatever a time source sends is judged without panic, judged the same in its
// canonical spelling, and never passes with a control character.
func FuzzServerName(f *testing.F) {
	for _, s := range []string{"", ".", "localhost", "a.b", "127.1", "::1", "ts\x00", "xn--a", "0x", "1.2.3.4."} {
		f.Add(s)
	}
	b := Backend{Domain: "ts.example", Port: 1}
	d, err := NewDirectory([]Backend{b}, []string{"*.pool.example"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, name string) {
		verdict := d.CheckServerName(&b, name, Expected{})
		if verdict != nil {
			return
		}
		if again := d.CheckServerName(&b, CanonicalName(name), Expected{}); again != nil {
			t.Errorf("%q passes, its canonical form %q does not: %v", name, CanonicalName(name), again)
		}
		for i := 0; i < len(name); i++ {
			if name[i] <= ' ' || name[i] >= 0x7f {
				t.Errorf("%q passed", name)
			}
		}
	})
}
