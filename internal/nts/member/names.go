package member

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ntp-daemon/internal/nts/record"
)

// errNameless: the time source does not know the question.
var errNameless = errors.New("time source does not list its names")

// Names asks for the names that the time source may put into Server records (List Server Names). nil: it does not know
// the question, which few do, and is not asked again for a day or until something else fails; a list without a name is
// its promise to send none. The question is a request of its own, because whoever does not know it refuses the whole
// message; until it was answered once it has a connection of its own, too, which such a refusal ends.
func (m *Client) Names(ctx context.Context, s Support) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.ConnectTimeout+m.cfg.AnswerTimeout)
	defer cancel()
	ask, known := m.namesKnown(time.Now())
	if !ask {
		return nil, nil
	}
	c, err := m.namesConnection(ctx, known)
	if err != nil {
		return nil, err
	}
	names, err := m.namesOn(ctx, c, s)
	switch {
	case err == nil:
		m.setNameless(time.Time{}, true)
	case !known || errors.Is(err, errNameless):
		m.setNameless(time.Now().Add(dialectMemory), false)
		return nil, nil
	}
	return names, err
}

// namesConnection is one of the kept connections if they are not at stake, else one apart from them.
func (m *Client) namesConnection(ctx context.Context, known bool) (*conn, error) {
	if known {
		return m.connection(ctx, false)
	}
	return m.connect(ctx)
}

// namesOn makes the request on one connection and keeps or closes it.
func (m *Client) namesOn(ctx context.Context, c *conn, s Support) ([]string, error) {
	if !c.alpn && s.Dialect != record.Cert4000 {
		m.put(c)
		return nil, errNameless
	}
	req := record.Request{Kind: record.Support, Dialect: s.Dialect, Token: s.token, KeepAlive: c.placed, WantNames: true}
	msg, err := m.roundTrip(ctx, c, req.Append(nil))
	if err != nil {
		m.drop(c)
		return nil, fmt.Errorf("ask %s for its names: %w", m, named(err))
	}
	resp, fault := record.ParseSupport(msg, s.Dialect)
	if fault != record.None {
		m.drop(c)
		if v := faultVerdict(fault, resp.Code); v == unknown || v == refused {
			return nil, errNameless
		}
		return nil, fmt.Errorf("names of %s: %w", m, faultWithCode(fault, resp.Code))
	}
	m.release(c, resp.KeepAlive || c.kept)
	names := make([]string, 0, len(resp.Names))
	return append(names, resp.Names...), nil
}

// namesKnown reports whether to ask at all, and whether the time source answered before.
func (m *Client) namesKnown(now time.Time) (ask, known bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !now.Before(m.nameless), m.named
}

// setNameless notes what became of the question.
func (m *Client) setNameless(until time.Time, known bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.nameless, m.named = until, known
}
