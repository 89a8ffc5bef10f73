package member

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ntp-daemon/internal/nts/record"
	"ntp-daemon/internal/secret"
)

// detectionOrder is newest first: a time source that does not know a newer request says so with error 0 or a bare close.
var detectionOrder = [...]record.Dialect{record.IANA, record.Token4000, record.Cert4000}

// attempt is one way to ask: a dialect and, except in the certificate dialect, a token.
type attempt struct {
	dialect record.Dialect
	token   secret.Bytes
}

// dialectVerdict is what the answer to an information request says about the attempt.
type dialectVerdict uint8

const (
	understood dialectVerdict = iota // a list came
	unknown                          // error 0 or a bare close: not this dialect
	refused                          // error 1: this dialect, but not for us
	failed                           // anything else: says nothing about dialects
)

// Supports asks the time source what it can do. The dialect is found with such requests only, never
// with keys, and remembered for a day; a token goes out only after the certificate was verified and
// ALPN negotiated. connected, if not nil, is called once, when the first connection stands.
func (m *Client) Supports(ctx context.Context, connected func()) (Support, error) {
	return m.supports(ctx, false, connected)
}

// Check is Supports for whoever looks after a time source while users do not: it also closes what is of no more use, and
// replaces the connection that users get next before its time is over.
func (m *Client) Check(ctx context.Context) (Support, error) {
	now := time.Now()
	m.tidy(now)
	return m.supports(ctx, m.ending(now), nil)
}

// supports is both; fresh asks on a new connection.
func (m *Client) supports(ctx context.Context, fresh bool, connected func()) (Support, error) {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.ConnectTimeout+m.cfg.AnswerTimeout)
	defer cancel()
	m.meter.inFlight.Add(1)
	defer m.meter.inFlight.Add(-1)
	once := func() {
		if connected != nil {
			connected()
			connected = nil
		}
	}
	if a, ok := m.remembered(time.Now()); ok {
		s, v, err := m.ask(ctx, a, fresh, once)
		if v == understood || v == failed {
			return s, err
		}
		m.forget()
	}
	return m.detect(ctx, once)
}

// detect tries the attempts in order. Error 0 or a bare close leads to the next dialect, error 1 to
// the next token of the same dialect and, after the last one, to an end: the time source understood.
func (m *Client) detect(ctx context.Context, connected func()) (Support, error) {
	err := error(ErrDialect)
	last := record.NoDialect
	var v dialectVerdict
	for _, a := range m.attempts() {
		if v == refused && a.dialect != last {
			break
		}
		if v == unknown && a.dialect == last {
			continue // the other tokens will not be understood better
		}
		last = a.dialect
		var s Support
		s, v, err = m.ask(ctx, a, false, connected)
		switch v {
		case understood:
			m.remember(s)
			return s, nil
		case failed:
			return Support{}, err
		}
	}
	return Support{}, err
}

// attempts lists the ways to ask in order: those that need a token only with one.
func (m *Client) attempts() []attempt {
	var list []attempt
	for _, d := range detectionOrder {
		if m.cfg.Dialect != record.NoDialect && d != m.cfg.Dialect {
			continue
		}
		if d == record.Cert4000 {
			list = append(list, attempt{dialect: d})
			continue
		}
		for _, token := range m.cfg.Tokens {
			list = append(list, attempt{dialect: d, token: token})
		}
	}
	return list
}

// ask makes one information request, repeated on a fresh connection if a kept one was dead.
func (m *Client) ask(ctx context.Context, a attempt, fresh bool, connected func()) (Support, dialectVerdict, error) {
	c, err := m.connection(ctx, fresh)
	if err != nil {
		return Support{}, failed, err
	}
	connected()
	s, v, err := m.askOn(ctx, c, a)
	if !errors.Is(err, errStale) {
		return s, v, err
	}
	if c, err = m.connection(ctx, true); err != nil {
		return Support{}, failed, err
	}
	return m.askOn(ctx, c, a)
}

// askOn makes the request on one connection and keeps or closes it.
func (m *Client) askOn(ctx context.Context, c *conn, a attempt) (Support, dialectVerdict, error) {
	if !c.alpn && a.dialect != record.Cert4000 {
		m.put(c) // the certificate dialect, if it is tried, may use it
		return Support{}, unknown, fmt.Errorf("%s: %w", m, ErrALPN)
	}
	req := record.Request{
		Kind: record.Support, Dialect: a.dialect, Token: a.token, KeepAlive: c.placed, WantAlgorithms: true,
		// The pool honours record 1024 (nts.Negotiate), so time sources of ours may list AEAD 30 to it. Others
		// ignore the record.
		CompliantExport: true,
		// An old time source takes the protocol list for an unknown critical record.
		WantProtocols: a.dialect != record.Cert4000,
	}
	msg, err := m.roundTrip(ctx, c, req.Append(nil))
	if err != nil {
		m.drop(c)
		v := failed
		if errors.Is(err, errNoAnswer) {
			v = unknown // ntpd-rs up to 1.2.1 hangs up where it means error 0
		}
		if !c.reused && !rejects(err) && (v == failed || a.dialect == record.Cert4000) {
			m.judge(c.address, false, time.Now()) // another address may do better, next time
		}
		return Support{}, v, fmt.Errorf("ask %s for its algorithms: %w", m, named(err))
	}
	resp, fault := record.ParseSupport(msg, a.dialect)
	if fault != record.None {
		m.drop(c)
		return Support{}, faultVerdict(fault, resp.Code), fmt.Errorf("%w: algorithms of %s: %w", m.reason(fault, resp.Code), m, faultWithCode(fault, resp.Code))
	}
	// A list without Keep Alive on a kept connection proves nothing: ntpd-rs up to 1.9 leaves it open
	// without saying so (docs/rules/pool.md#silent-keep-alive). Whether it does shows before the next use.
	m.release(c, resp.KeepAlive || c.kept)
	return m.support(a, resp)
}

// support checks that the lists are there. The certificate dialect has no list of protocols.
func (m *Client) support(a attempt, resp record.SupportResponse) (Support, dialectVerdict, error) {
	s := Support{Dialect: a.dialect, Protocols: resp.Protocols, Algorithms: resp.Algorithms, token: a.token}
	if a.dialect == record.Cert4000 {
		s.Protocols = []record.Protocol{record.NTPv4}
	}
	if s.Algorithms == nil || s.Protocols == nil {
		return Support{}, failed, fmt.Errorf("algorithms of %s: %w", m, record.Missing)
	}
	return s, understood, nil
}

// faultVerdict says what an unusable answer means for the search.
func faultVerdict(f record.Fault, code record.ErrorCode) dialectVerdict {
	switch {
	case f != record.PeerError:
		return failed
	case code == record.CodeUnrecognizedCritical:
		return unknown
	case code == record.CodeBadRequest:
		return refused
	}
	return failed
}

// reason is the sentinel behind faultVerdict. A time source of the certificate dialect answers error 0 to a certificate
// that it does not know, as if it did not understand; without a token there is no other dialect to have been meant.
func (m *Client) reason(f record.Fault, code record.ErrorCode) error {
	switch faultVerdict(f, code) {
	case unknown:
		if len(m.cfg.Tokens) == 0 {
			return ErrCertificate
		}
		return ErrDialect
	case refused:
		return ErrRefused
	}
	return errAnswer
}

// remember keeps the dialect and token that worked.
func (m *Client) remember(s Support) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.known, m.until = s, time.Now().Add(dialectMemory)
}

// remembered returns the way to ask that worked last.
func (m *Client) remembered(now time.Time) (attempt, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return attempt{dialect: m.known.Dialect, token: m.known.token}, now.Before(m.until)
}

// forget makes the next information request find the dialect again, and names be asked for again.
func (m *Client) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.until, m.nameless = time.Time{}, time.Time{}
}
