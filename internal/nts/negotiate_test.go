package nts

import (
	"bytes"
	"testing"

	"ntp-daemon/internal/nts/aead"
)

func TestExporterContext(t *testing.T) {
	for _, tt := range []struct {
		protocol uint16
		a        aead.Algorithm
		s2c      bool
		want     string
	}{
		{0, 15, false, "\x00\x00\x00\x0f\x00"},
		{0, 15, true, "\x00\x00\x00\x0f\x01"},
		{0x8001, 30, true, "\x80\x01\x00\x1e\x01"},
	} {
		if got := ExporterContext(tt.protocol, tt.a, tt.s2c); !bytes.Equal(got[:], []byte(tt.want)) {
			t.Errorf("%x, want %x", got, tt.want)
		}
	}
}

func TestNegotiate(t *testing.T) {
	type ids = []aead.Algorithm
	ours := Offer{Protocols: []uint16{0}, Algorithms: ids{15, 16, 17, 30}}
	for _, tt := range []struct {
		name   string
		client Offer
		accept Offer
		choice Choice
		want   Agreement
	}{
		{"plain", Offer{Protocols: []uint16{0}, Algorithms: ids{15}}, ours, Choice{Algorithm: 15}, Agreed},
		{"client's order", Offer{Protocols: []uint16{0}, Algorithms: ids{17, 15}}, ours, Choice{Algorithm: 17}, Agreed},
		{"unknown first", Offer{Protocols: []uint16{0xffff, 0}, Algorithms: ids{0xffff, 15}}, ours, Choice{Algorithm: 15}, Agreed},
		{"KS02 unknown protocol", Offer{Protocols: []uint16{0xffff}, Algorithms: ids{15}}, ours, Choice{}, NoProtocol},
		{"KS03 unknown algorithm", Offer{Protocols: []uint16{0}, Algorithms: ids{0xffff}}, ours, Choice{}, NoAlgorithm},
		{"nothing offered", Offer{}, ours, Choice{}, NoProtocol},
		{"no algorithm offered", Offer{Protocols: []uint16{0}}, ours, Choice{}, NoAlgorithm},
		{"chrony 4.6.1", Offer{Protocols: []uint16{0}, Algorithms: ids{30, 15}, CompliantGCMSIV: true}, ours,
			Choice{Algorithm: 30, EchoCompliant: true}, Agreed},
		{"chrony 4.4", Offer{Protocols: []uint16{0}, Algorithms: ids{30, 15}}, ours, Choice{Algorithm: 15}, Agreed},
		{"30, 17 without 1024", Offer{Protocols: []uint16{0}, Algorithms: ids{30, 17}}, ours, Choice{Algorithm: 17}, Agreed},
		{"30 only without 1024", Offer{Protocols: []uint16{0}, Algorithms: ids{30}}, ours, Choice{Algorithm: 30}, Agreed},
		{"30 is all in common", Offer{Protocols: []uint16{0}, Algorithms: ids{30, 15}},
			Offer{Protocols: []uint16{0}, Algorithms: ids{30}}, Choice{Algorithm: 30}, Agreed},
		{"1024 but 15 first", Offer{Protocols: []uint16{0}, Algorithms: ids{15, 30}, CompliantGCMSIV: true}, ours,
			Choice{Algorithm: 15}, Agreed},
		{"1024 but 30 not accepted", Offer{Protocols: []uint16{0}, Algorithms: ids{30, 15}, CompliantGCMSIV: true},
			Offer{Protocols: []uint16{0}, Algorithms: ids{15}}, Choice{Algorithm: 15}, Agreed},
		{"accepted but size unknown", Offer{Protocols: []uint16{0}, Algorithms: ids{4, 15}},
			Offer{Protocols: []uint16{0}, Algorithms: ids{4, 15}}, Choice{Algorithm: 15}, Agreed},
		{"pool passes 31 on", Offer{Protocols: []uint16{0x8001, 0}, Algorithms: ids{31}},
			Offer{Protocols: []uint16{0, 0x8001}, Algorithms: ids{31}}, Choice{Protocol: 0x8001, Algorithm: 31}, Agreed},
	} {
		choice, agreement := Negotiate(tt.client, tt.accept)
		if choice != tt.choice || agreement != tt.want {
			t.Errorf("%s: %+v %v, want %+v %v", tt.name, choice, agreement, tt.choice, tt.want)
		}
	}
}

func TestClientContexts(t *testing.T) {
	for _, tt := range []struct {
		a            aead.Algorithm
		echoed       bool
		first, other aead.Algorithm
		has          bool
	}{
		{15, false, 15, 0, false},
		{17, true, 17, 0, false},
		{30, true, 30, 0, false},
		{30, false, 15, 30, true},
	} {
		first, other, has := ClientContexts(tt.a, tt.echoed)
		if first != tt.first || other != tt.other || has != tt.has {
			t.Errorf("%v %v: %v %v %v", tt.a, tt.echoed, first, other, has)
		}
	}
}
