package ke

import (
	"bytes"

	"ntp-daemon/internal/nts/record"
)

// privileged says whether a pool request may be answered: its token is configured, or the connection's leaf
// certificate is listed. Both lists are looked up for every request, so that taking a pool off them works at
// once, on kept connections as well (docs/rules/pool.md#kept).
func (s *Server) privileged(req *record.Request, leaf []byte) bool {
	token := s.accepted(req.Token)
	return s.listed(leaf) || token
}

// accepted compares the token with every configured one, each in constant time and none left out, so that the
// time tells neither how much of a token was right nor which one it was. Empty tokens match nothing.
func (s *Server) accepted(token []byte) bool {
	if s.cfg.Tokens == nil {
		return false
	}
	found := false
	for _, t := range s.cfg.Tokens() {
		equal := t.Equal(token)
		found = found || equal && len(token) > 0
	}
	return found
}

// listed says whether the certificate is exactly one of the pools'. Certificates are public: no need for
// constant time.
func (s *Server) listed(leaf []byte) bool {
	if s.cfg.PoolLeaves == nil || len(leaf) == 0 {
		return false
	}
	for _, l := range s.cfg.PoolLeaves() {
		if bytes.Equal(l, leaf) {
			return true
		}
	}
	return false
}

// refusal is what a pool request without privilege gets: code 1 in the token dialects and 0, as if the record
// were unknown, in that of the seed era (docs/rules/pool.md#unprivileged, row P11).
func refusal(d record.Dialect) record.ErrorCode {
	if d == record.Cert4000 {
		return record.CodeUnrecognizedCritical
	}
	return record.CodeBadRequest
}
