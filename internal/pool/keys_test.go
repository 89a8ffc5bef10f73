package pool

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/secret"
)

func TestUserKeys_OneBackendOnly(t *testing.T) {
	u := NewUserKeys(nts.Keys{
		Algorithm: aead.SIVCMAC256,
		C2S:       secret.Bytes(bytes.Repeat([]byte{0xc2}, 32)), S2C: secret.Bytes(bytes.Repeat([]byte{0x52}, 32)),
	})
	if u.Bound() {
		t.Fatal("bound before the first send")
	}
	k, err := u.For("a.example:4460")
	if err != nil || !u.Bound() || len(k.C2S) != 32 {
		t.Fatal(err, u.Bound())
	}
	if _, err := u.For("a.example:4460"); err != nil {
		t.Errorf("resend to the same time source: %v", err)
	}
	if k, err := u.For("b.example:4460"); err == nil || k.C2S != nil {
		t.Error("the keys went to a second time source")
	} else if !strings.Contains(err.Error(), "a.example") || strings.Contains(err.Error(), "c2c2") {
		t.Errorf("error text: %v", err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
		for _, v := range []any{u, *u, struct{ U any }{u}} {
			text := strings.ToLower(fmt.Sprintf(verb, v))
			for _, leak := range []string{"c2c2", "194 194", "0xc2", "\\xc2", "\xc2", "5252", "82 82", "0x52", "rrrr"} {
				if strings.Contains(text, leak) {
					t.Errorf("P16: %s of %T: %s", verb, v, text)
				}
			}
		}
	}
	u.Wipe()
	if !bytes.Equal(k.C2S, make([]byte, 32)) || !bytes.Equal(k.S2C, make([]byte, 32)) {
		t.Error("keys survive Wipe")
	}
	if _, err := u.For("a.example:4460"); !errors.Is(err, ErrKeysWiped) {
		t.Errorf("after Wipe: %v", err)
	}
}
