// Package geotest makes databases of countries for tests.
package geotest

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"
)

// Place is what the records of a database say; an empty member is left out.
type Place struct{ Country, Continent string }

// Database makes a database in MaxMind's format, version 2.0, with records of 24 bits and a tree of IPv6, in which IPv4
// has its place under ::/96 (https://maxmind.github.io/MaxMind-DB/).
func Database(built int64, networks map[string]Place) []byte {
	tree := [][2]int{{none, none}} // child: node ≥ 0, none, or a record (record - index)
	var data []byte
	var offsets []int
	keys := make([]string, 0, len(networks))
	for key := range networks {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for n, key := range keys {
		prefix := netip.MustParsePrefix(key)
		length := prefix.Bits()
		if prefix.Addr().Is4() {
			length += 96
		}
		address := prefix.Addr().As16()
		if prefix.Addr().Is4() {
			clear(address[:12]) // ::a.b.c.d, not ::ffff:a.b.c.d
		}
		node := 0
		for bit := range length {
			side := int(address[bit/8]>>(7-bit%8)) & 1
			if bit == length-1 {
				tree[node][side] = record - n
				break
			}
			if tree[node][side] < 0 {
				tree = append(tree, [2]int{none, none})
				tree[node][side] = len(tree) - 1
			}
			node = tree[node][side]
		}
		offsets = append(offsets, len(data))
		data = append(data, encode(networks[key].value())...)
	}
	var out []byte
	for _, node := range tree {
		for _, child := range node {
			value := child
			switch {
			case child == none:
				value = len(tree)
			case child < 0:
				value = len(tree) + 16 + offsets[record-child]
			}
			out = append(out, byte(value>>16), byte(value>>8), byte(value))
		}
	}
	out = append(append(out, make([]byte, 16)...), data...)
	out = append(out, "\xab\xcd\xefMaxMind.com"...)
	return append(out, encode(object{
		{"binary_format_major_version", uint16(2)}, {"binary_format_minor_version", uint16(0)}, {"build_epoch", uint64(built)},
		{"database_type", "Test-Country"}, {"description", object{{"en", "made by a test"}}}, {"ip_version", uint16(6)},
		{"languages", []any{"en"}}, {"node_count", uint32(len(tree))}, {"record_size", uint16(24)},
	})...)
}

const (
	none   = -1
	record = -2
)

// value is the record of a place, in the shape of GeoLite2-Country.
func (p Place) value() object {
	var o object
	if p.Continent != "" {
		o = append(o, field{"continent", object{{"code", p.Continent}}})
	}
	if p.Country != "" {
		o = append(o, field{"country", object{{"iso_code", p.Country}}})
	}
	return o
}

type field struct {
	key   string
	value any
}

type object []field

// encode writes a value of the data section. Sizes below 285 are enough.
func encode(v any) []byte {
	control := func(kind, size int) []byte {
		var head []byte
		first := kind << 5
		if kind > 7 {
			first = 0
			head = []byte{byte(kind - 7)}
		}
		if size < 29 {
			return append([]byte{byte(first | size)}, head...)
		}
		return append(append([]byte{byte(first | 29)}, head...), byte(size-29))
	}
	number := func(kind int, n uint64) []byte {
		size := (bits.Len64(n) + 7) / 8
		return append(control(kind, size), binary.BigEndian.AppendUint64(nil, n)[8-size:]...)
	}
	switch v := v.(type) {
	case string:
		return append(control(2, len(v)), v...)
	case uint16:
		return number(5, uint64(v))
	case uint32:
		return number(6, uint64(v))
	case uint64:
		return number(9, v)
	case []any:
		out := control(11, len(v))
		for _, e := range v {
			out = append(out, encode(e)...)
		}
		return out
	case object:
		out := control(7, len(v))
		for _, f := range v {
			out = append(append(out, encode(f.key)...), encode(f.value)...)
		}
		return out
	}
	panic("no such value")
}
