package accept

import (
	"net"
	"testing"
)

// TestP14_MappedAddressesAreOneClient: a client is the same whether a listener for IPv4 or one for both families took
// its connection: the same address, the same prefix, the same limit. (There are no regions.)
func TestP14_MappedAddressesAreOneClient(t *testing.T) {
	p := newPrefixes(Config{PerPrefix: 2, PrefixV6: 56})
	plain := address(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 7).To4(), Port: 1})
	mapped := address(&net.TCPAddr{IP: net.ParseIP("::ffff:192.0.2.7"), Port: 2})
	if plain != mapped || !mapped.Is4() || p.of(plain) != p.of(mapped) {
		t.Fatalf("%v in %v and %v in %v", plain, p.of(plain), mapped, p.of(mapped))
	}
	p.add(plain)
	p.add(mapped)
	if p.room(plain) || p.room(mapped) {
		t.Error("the two spellings do not share a limit")
	}
	if other := address(&net.TCPAddr{IP: net.ParseIP("2001:db8::1")}); !p.room(other) || p.of(other).Bits() != 56 {
		t.Errorf("%v in %v", other, p.of(other))
	}
}
