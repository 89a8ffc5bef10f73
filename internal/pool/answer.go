package pool

import (
	"errors"
	"fmt"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/nts/record"
)

// Reasons for refusing a time source's answer as a whole (docs/rules/pool.md#time-source-answers).
var (
	ErrOtherChoice = errors.New("time source answered another protocol or AEAD than it was asked for")
	ErrNoCookies   = errors.New("time source sent no cookies")
)

// Answer builds what the user sees out of a time source's answer: nothing is forwarded, each field
// is put in by us after its check, so that no record of a time source can reach a user by itself
// (docs/rules/pool.md#answer-anew, row P03). The Server record is always there, the time source's name
// or else its domain; the Port is always explicit; at most eight cookies; record 1024 only as the
// negotiation with the user demands it (docs/rules/key-exchange.md#aead-30). The cookies alias got.
// reached is for CheckServerName.
func (d *Directory) Answer(b *Backend, choice nts.Choice, reached string, got record.Response) (record.Response, error) {
	if got.Protocol != record.Protocol(choice.Protocol) || got.Algorithm != choice.Algorithm {
		return record.Response{}, fmt.Errorf("%w: %v, %v", ErrOtherChoice, got.Protocol, got.Algorithm)
	}
	if len(got.Cookies) == 0 {
		return record.Response{}, ErrNoCookies
	}
	answer := record.Response{
		Protocol:        got.Protocol,
		Algorithm:       got.Algorithm,
		CompliantExport: choice.EchoCompliant,
		Cookies:         got.Cookies[:min(len(got.Cookies), record.MaxCookies)],
		Server:          b.Domain,
		Port:            ntp.Port, // unless it says otherwise (RFC 8915 section 4.1.8)
	}
	if got.Server != "" {
		if err := d.CheckServerName(b, got.Server, reached); err != nil {
			return record.Response{}, fmt.Errorf("%w: %q", err, got.Server)
		}
		answer.Server = got.Server
	}
	if got.Port != 0 {
		answer.Port = got.Port
	}
	return answer, nil
}
