package poolke

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"

	"ntp-daemon/internal/accept"
)

// The PROXY protocol, version 2 (docs/rules/pool.md#proxy): a load balancer in front of the pool says, before the first
// byte of TLS, whose connection it passes on.
const (
	proxySignature = "\r\n\r\n\x00\r\nQUIT\n"
	proxyFixed     = len(proxySignature) + 4 // signature, version and command, family, length
	// longestProxy is the longest header that is read. Addresses need 52 bytes; the rest is for TLVs, with the certificate of
	// a TLS client at most, and what a header claims beyond that is a waste of everybody's time.
	longestProxy = 4096
	proxyPiece   = 256 // of TLVs, which are read and forgotten

	proxyLocal = 0x20 // version 2, command LOCAL: the balancer speaks for itself, as in a health check
	proxyProxy = 0x21 // version 2, command PROXY
	proxyTCP4  = 0x11
	proxyTCP6  = 0x21
	proxyAddr4 = 12 // two addresses and two ports
	proxyAddr6 = 36
)

// What is wrong with a header.
var (
	errProxyNothing = errors.New("closed without a byte") // a look whether somebody is there
	errNoProxy      = errors.New("no PROXY protocol header of version 2")
	errProxyLong    = fmt.Errorf("PROXY protocol header of more than %d bytes", longestProxy)
	errProxyShort   = errors.New("PROXY protocol header too short for its addresses")
	errProxyCommand = errors.New("PROXY protocol command is neither LOCAL nor PROXY")
	errProxyFamily  = errors.New("PROXY protocol header for another transport than TCP over IPv4 or IPv6")
	errProxyAddress = errors.New("PROXY protocol header with an address that no user can have")
)

// readProxy reads a header from r, not a byte more, and returns the user's address and port, IPv4 never in its IPv6
// form. With the command LOCAL there is none and the result is invalid. TLVs are passed over. An error leaves r
// somewhere in the header: the connection is of no more use.
func readProxy(r io.Reader) (netip.AddrPort, error) {
	var buf [proxyFixed + proxyAddr6]byte
	// A byte that does not belong to the signature ends the attempt, however few have come: whoever speaks TLS or
	// version 1 is not waited for.
	for n := 0; n < proxyFixed; {
		more, err := io.ReadAtLeast(r, buf[n:proxyFixed], 1)
		n += more
		if got := min(n, len(proxySignature)); string(buf[:got]) != proxySignature[:got] {
			return netip.AddrPort{}, errNoProxy
		}
		switch {
		case err != nil && n == 0 && !accept.IsTimeout(err):
			return netip.AddrPort{}, fmt.Errorf("%w: %w", errProxyNothing, err)
		case err != nil:
			return netip.AddrPort{}, fmt.Errorf("read PROXY protocol header: %w", err)
		}
	}
	length := int(binary.BigEndian.Uint16(buf[proxyFixed-2:]))
	if proxyFixed+length > longestProxy {
		return netip.AddrPort{}, errProxyLong
	}
	command, family := buf[len(proxySignature)], buf[len(proxySignature)+1]
	if command != proxyLocal && command != proxyProxy {
		return netip.AddrPort{}, errProxyCommand
	}
	body := buf[proxyFixed:][:min(length, proxyAddr6)]
	if _, err := io.ReadFull(r, body); err != nil {
		return netip.AddrPort{}, fmt.Errorf("read PROXY protocol header: %w", err)
	}
	if err := discard(r, length-len(body)); err != nil {
		return netip.AddrPort{}, fmt.Errorf("read PROXY protocol header: %w", err)
	}
	if command == proxyLocal {
		return netip.AddrPort{}, nil
	}
	return proxySource(family, body)
}

// discard reads n bytes, not one more.
func discard(r io.Reader, n int) error {
	var piece [proxyPiece]byte
	for n > 0 {
		got, err := io.ReadFull(r, piece[:min(n, len(piece))])
		if n -= got; err != nil {
			return err
		}
	}
	return nil
}

// proxySource takes the user's address out of the body of a header with the command PROXY.
func proxySource(family byte, body []byte) (netip.AddrPort, error) {
	var a netip.Addr
	var port []byte
	switch {
	case family != proxyTCP4 && family != proxyTCP6:
		return netip.AddrPort{}, errProxyFamily // UNSPEC among them: whom would the limits apply to?
	case family == proxyTCP4 && len(body) >= proxyAddr4:
		a, port = netip.AddrFrom4([4]byte(body)), body[8:]
	case family == proxyTCP6 && len(body) >= proxyAddr6:
		a, port = netip.AddrFrom16([16]byte(body)).Unmap(), body[32:]
	default:
		return netip.AddrPort{}, errProxyShort
	}
	if a.IsUnspecified() || a.IsMulticast() {
		return netip.AddrPort{}, errProxyAddress
	}
	return netip.AddrPortFrom(a, binary.BigEndian.Uint16(port)), nil
}
