package config

import (
	"time"

	"ntp-daemon/internal/nts/record"
)

// PoolLimits are how long, how often and how much of everything; zero: the pool's own default (docs/rules/pool.md#limits).
type PoolLimits struct {
	MaxConnections int // max-connections: users at one time

	HandshakeTimeout time.Duration // handshake-timeout-ms: TLS with a user
	ConnectTimeout   time.Duration // upstream-connect-timeout-ms: TCP to a time source
	AnswerTimeout    time.Duration // upstream-timeout-ms: a time source's answer to a user's keys
	SupportTimeout   time.Duration // a time source's answer about what it can do; upstream-timeout-ms, too
	SupportTTL       time.Duration // support-cache-seconds: how long that answer is believed
	IdleTime         time.Duration // upstream-idle-seconds: how long a connection to a time source is kept unused
	MaxAge           time.Duration // upstream-max-age-seconds: and how long at all
}

var cacheRange = span{min: 1, max: 86400, unit: "s"}

// poolLimits reads the limits of our own tables.
func (t *table) poolLimits(p *Pool) {
	m := &p.Limits
	t.integer("max-connections", connections, &m.MaxConnections)
	t.interval("handshake-timeout-ms", timeoutRange, time.Millisecond, &m.HandshakeTimeout)
	t.interval("upstream-connect-timeout-ms", timeoutRange, time.Millisecond, &m.ConnectTimeout)
	t.interval("upstream-timeout-ms", timeoutRange, time.Millisecond, &m.AnswerTimeout)
	m.SupportTimeout = m.AnswerTimeout
	t.interval("support-cache-seconds", cacheRange, time.Second, &m.SupportTTL)
	t.interval("upstream-idle-seconds", cacheRange, time.Second, &m.IdleTime)
	t.interval("upstream-max-age-seconds", cacheRange, time.Second, &m.MaxAge)
}

// protocols reads the next protocols that users may get.
func (t *table) protocols(key string, p *Pool) {
	n := t.typed(key, kindArray, key+" = [0]")
	if n == nil {
		return
	}
	for _, item := range n.items {
		var id int
		one := &table{l: t.l, path: t.path, node: newTable(byPath, item.val)}
		one.node.add(key, item)
		if one.integer(key, span{min: 0, max: 0xffff}, &id) {
			p.Protocols = append(p.Protocols, record.Protocol(id)) //nolint:gosec // within the span
		}
	}
	if len(n.items) == 0 {
		t.fail(key, n, "allows nothing, so every user would be refused", "write "+key+" = [0], which is NTPv4")
	}
}

// clientPair reads the certificate that time sources are shown, if it is another one.
func (t *table) clientPair(chainKey, keyKey string, p *Pool) {
	if t.has(chainKey) || t.has(keyKey) {
		t.keyPair(chainKey, keyKey, &p.ClientChainPath, &p.ClientKeyPath)
		return
	}
	t.skip(chainKey, keyKey)
}
