package member

import (
	"crypto/tls"
	"crypto/x509"
	"time"
)

// A time source that never keeps a connection costs a TLS handshake per user. After a few refusals in a row it is
// believed for a while, not asked for Keep Alive, and spoken to with resumed TLS sessions instead, which spare both
// sides the signature (docs/rules/pool.md#one-shot). When the time is over the next handshake is a full one again, so no
// certificate is believed for longer than that without being seen.
const (
	oneShotAnswers = 3                // first answers in a row without Keep Alive
	oneShotTime    = 10 * time.Minute // how long they are believed
)

// granted notes whether the first answer on a connection granted Keep Alive, or a later one did.
func (m *Client) granted(yes bool, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if yes {
		m.refusals = 0
		return
	}
	if m.refusals++; m.refusals >= oneShotAnswers {
		m.refusals, m.oneShot = 0, now.Add(oneShotTime)
		m.sessions, m.sessionRoots = nil, nil
	}
}

// OneShot reports whether the time source is taken for one that keeps no connections.
func (m *Client) OneShot(now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return now.Before(m.oneShot)
}

// resume lets a handshake resume an earlier session of this time source, while it keeps no connections. Sessions that
// began with other roots are forgotten. On a connection to a time source no keys are exported, so it does not matter
// that their secrets descend from each other.
func (m *Client) resume(conf *tls.Config, roots *x509.CertPool, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !now.Before(m.oneShot) {
		m.sessions, m.sessionRoots = nil, nil
		return
	}
	if m.sessions == nil || !m.sessionRoots.Equal(roots) {
		m.sessions, m.sessionRoots = tls.NewLRUClientSessionCache(1), roots
	}
	conf.SessionTicketsDisabled, conf.ClientSessionCache = false, m.sessions
}
