package pool

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"ntp-daemon/internal/nts/record"
	"ntp-daemon/internal/secret"
)

func TestNewDirectory_ReportsEveryFault(t *testing.T) {
	_, err := NewDirectory([]Backend{
		{Domain: "fine.example", Port: 4460},
		{Domain: "", Port: 0},
		{Domain: "a b", Port: 1, Names: []string{"ok.example", "not ok"}},
		{Domain: "t.example", Port: 1, Dialect: record.IANA},
		{Domain: "t.example", Port: 1, Tokens: []secret.Bytes{nil}},
		{Domain: "t.example", Port: 1, Addresses: []netip.Addr{netip.IPv4Unspecified()}},
		{Domain: "t.example", Port: 1, Dialect: 9},
		{Domain: "u.example", Port: 1, ID: "u u", Weight: MaxWeight + 1, Regions: []string{"NL", "nl", "MARS"}, MaxConnections: -1},
		{Domain: "v.example", Port: 1, ID: "v"},
		{Domain: "w.example", Port: 1, ID: "v"},
		{Domain: "x.example", Port: 1, ID: "fine.example:4460"},
		{Domain: "fine.example", Port: 4460},
	}, nil)
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		"time source 2", "port is 0", "server name is empty", "time source 3", `name "not ok"`, "era iana needs a token",
		"token of 0 bytes", "address 0.0.0.0", "unknown protocol era 9",
		`id "u u"`, "weight 1000001", `region "nl"`, `region "MARS"`, "-1 connections", `time source 10 ("w.example:1"): its id "v" is that of time source 9`,
		`time source 11 ("x.example:1"): its id "fine.example:4460" is that of time source 1`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), `("fine.example`) || strings.Contains(err.Error(), `region "NL"`) {
		t.Error("a good entry is blamed")
	}
}

// Every spelling of a region leads to one, and what is none is refused.
func TestCanonicalRegion(t *testing.T) {
	for name, want := range map[string]string{
		"NL": "NL", "nl": "NL", "XK": "XK", "EUROPE": "EUROPE", "north-america": "NORTH-AMERICA", "NORTH_AMERICA": "NORTH-AMERICA",
		"South America": "SOUTH_AMERICA", "SOUTH-AMERICA": "SOUTH_AMERICA", "Oceania": "OCEANIA", "antarctica": "ANTARCTICA",
		"": "", "@": "", "UK": "", "XX": "", "A ": "", " A": "", "D D": "", "N L": "", "EURO": "", "EUROPE ASIA": "",
	} {
		if got, ok := CanonicalRegion(name); got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v, want %q", name, got, ok, want)
		}
	}
	if n := len(strings.Fields(countries)); n != 250 {
		t.Errorf("%d countries, ISO 3166-1 has 249", n)
	}
}

func TestBackend_Name(t *testing.T) {
	for want, b := range map[string]Backend{"a.example:1": {Domain: "a.example", Port: 1}, "x-1": {Domain: "a.example", Port: 1, ID: "x-1"}, "[2001:db8::1]:1": {Domain: "2001:db8::1", Port: 1}} {
		if b.Name() != want {
			t.Errorf("%q, want %q", b.Name(), want)
		}
		if !ValidID(b.Name()) {
			t.Errorf("%q is no id", b.Name())
		}
	}
}

func TestDirectory_IsACopy(t *testing.T) {
	names := []string{"a.example"}
	d := mustDirectory(t, nil, Backend{Domain: "ts.example", Port: 1, Names: names})
	names[0] = "b.example"
	if got := d.At(0).Names[0]; got != "a.example" {
		t.Errorf("the directory changed under its owner: %q", got)
	}
}

// The names of the seed's own pool configuration end in a number and are names all the same, in the list and in an answer.
func TestNewDirectory_NamesOfTheSeed(t *testing.T) {
	d, err := NewDirectory([]Backend{{Domain: "nts.server.1", Port: 8081}, {Domain: "nts.server.2", Port: 8080}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.CheckServerName(d.At(0), "nts.server.1", Expected{}); err != nil {
		t.Error(err)
	}
	if err := d.CheckServerName(d.At(0), "nts.server.2", Expected{}); !errors.Is(err, ErrNameMalformed) {
		t.Errorf("a name that the operator did not write: %v", err)
	}
	for _, number := range []string{"127.1", "0x7f000001", "0x7f.1"} {
		if _, err := NewDirectory([]Backend{{Domain: number, Port: 4460}}, nil); err == nil {
			t.Errorf("%q is an address to many", number)
		}
	}
}

// P16: tokens of the list appear in no text made of it.
func TestP16_BackendHidesTokens(t *testing.T) {
	b := Backend{Domain: "ts.example", Port: 1, Tokens: []secret.Bytes{secret.Bytes("token-0123456789")}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q"} {
		text := fmt.Sprintf(verb, b)
		for _, leak := range []string{"token-0123456789", "746f6b656e", "dG9rZW4"} {
			if strings.Contains(text, leak) {
				t.Errorf("%s shows the token: %s", verb, text)
			}
		}
	}
}
