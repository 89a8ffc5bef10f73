package member

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"ntp-daemon/internal/nts/record"
)

const (
	// addressMemory is how long an address whose connection failed is asked after the others: the next users need not
	// wait for it, and it is not lost when it comes back.
	addressMemory = 10 * time.Minute
	// maxAddresses bounds what a name server may make us try.
	maxAddresses = 16
)

// systemLookup asks the system's resolver.
func systemLookup(ctx context.Context, name string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
}

// addresses lists where the time source can be reached, host:port, those that failed lately last. Without a list of the
// operator's its name is looked up; the names of loopback are left to the dialer, which needs nobody's help for them.
func (m *Client) addresses(ctx context.Context, now time.Time) ([]string, error) {
	found := m.cfg.Addresses
	name := strings.ToLower(strings.TrimSuffix(m.cfg.Domain, "."))
	if len(found) == 0 {
		_, literal := netip.ParseAddr(name)
		if m.cfg.Lookup == nil || literal == nil || name == "localhost" || strings.HasSuffix(name, ".localhost") {
			return []string{m.String()}, nil
		}
		var err error
		if found, err = m.cfg.Lookup(ctx, m.cfg.Domain); err != nil {
			return nil, err
		}
	}
	var list []string
	for _, a := range found[:min(len(found), maxAddresses)] {
		list = append(list, net.JoinHostPort(a.Unmap().String(), strconv.Itoa(int(m.cfg.Port))))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for a, when := range m.failed {
		if now.Sub(when) >= addressMemory || !slices.Contains(list, a) {
			delete(m.failed, a)
		}
	}
	slices.SortStableFunc(list, func(a, b string) int { return m.failed[a].Compare(m.failed[b]) }) // never: the zero time
	return list, nil
}

// connect opens a fresh connection to the first address with which TCP and TLS succeed, certificate check included, and
// remembers those with which they did not. Each gets its share of the time that ctx leaves.
func (m *Client) connect(ctx context.Context) (*conn, error) {
	list, err := m.addresses(ctx, time.Now())
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", m, err)
	}
	var all error
	var second *conn // TLS, but nobody who agrees on ntske/1
	for i, address := range list {
		c, err := m.connectTo(ctx, address, len(list)-i)
		if err == nil && !c.alpn && m.expectsALPN() {
			if second == nil {
				second = c
			} else {
				c.close()
			}
			err = fmt.Errorf("%s: %w", m.at(address), ErrALPN)
		}
		m.judge(address, err == nil, time.Now())
		if err == nil {
			if second != nil {
				second.close()
			}
			return c, nil
		}
		if all == nil {
			all = err
		} else {
			all = fmt.Errorf("%w; %w", all, err)
		}
		if ctx.Err() != nil {
			break
		}
		if m.cfg.Failed != nil && i+1 < len(list) {
			m.cfg.Failed(err)
		}
	}
	if second != nil {
		return second, nil // it may speak the certificate dialect
	}
	if all == nil {
		all = fmt.Errorf("connect to %s: no address", m)
	}
	return nil, all
}

// expectsALPN reports whether an address without ntske/1 is the wrong one: only the certificate dialect does without.
func (m *Client) expectsALPN() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.cfg.Tokens) > 0 && m.known.Dialect != record.Cert4000
}

// judge remembers what became of an address.
func (m *Client) judge(address string, good bool, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if good {
		delete(m.failed, address)
		return
	}
	if m.failed == nil {
		m.failed = map[string]time.Time{}
	}
	m.failed[address] = now
}

// at names the time source and the address that was asked, once if they are the same.
func (m *Client) at(address string) string {
	if address == m.String() {
		return address
	}
	return fmt.Sprintf("%s at %s", m, address)
}

// named adds to the error of a request that our certificate is the reason, if it is.
func named(err error) error {
	if rejects(err) {
		return fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	return err
}

// rejects reports whether the peer's TLS ended the connection because of our certificate (alerts 41 to 49 and 116 of
// RFC 8446 §6). crypto/tls has no exported type for an alert that was received; its words are stable.
func rejects(err error) bool {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" {
		return false
	}
	for _, alert := range []tls.AlertError{42, 43, 44, 45, 46, 48, 49, 116} {
		if op.Err.Error() == alert.Error() {
			return true
		}
	}
	return false
}
