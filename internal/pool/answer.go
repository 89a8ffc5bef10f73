package pool

import (
	"errors"
	"fmt"
	"slices"

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
// or else its domain; the Port is always explicit; at most eight cookies, of one length; record 1024 only as the
// negotiation with the user demands it (docs/rules/key-exchange.md#aead-30). The cookies alias got.
// It is judged by what is expected of the time source.
func (d *Directory) Answer(b *Backend, choice nts.Choice, e Expected, got record.Response) (record.Response, error) {
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
		Cookies:         evenCookies(got.Cookies[:min(len(got.Cookies), record.MaxCookies)]),
		Server:          b.Domain,
		Port:            ntp.Port, // unless it says otherwise (RFC 8915 section 4.1.8)
	}
	if got.Server != "" {
		if err := d.CheckServerName(b, got.Server, e); err != nil {
			return record.Response{}, fmt.Errorf("%w: %q", err, got.Server)
		}
		answer.Server = got.Server
	}
	if got.Port != 0 {
		answer.Port = got.Port
	}
	return answer, nil
}

// cookieUnit is what the length of a cookie should be a multiple of: an extension field with another one is padded (RFC
// 7822 §3), and the time source would get back another cookie than it gave.
const cookieUnit = 4

// evenCookies are those that every client can use (docs/rules/pool.md#time-source-answers): of one length, without which
// NTPsec refuses the answer, namely that of the first one that chrony would not skip, or of the first one if it would skip
// all.
func evenCookies(all [][]byte) (even [][]byte) {
	at := max(0, slices.IndexFunc(all, func(c []byte) bool { return len(c)%cookieUnit == 0 }))
	other := func(c []byte) bool { return len(c) != len(all[at]) }
	if !slices.ContainsFunc(all, other) {
		return all
	}
	for _, c := range all {
		if !other(c) {
			even = append(even, c)
		}
	}
	return even
}

// OddCookies reports that a time source's cookies are not what its users expect: too many, of several lengths, or of
// one that some cannot use.
func OddCookies(got *record.Response) bool {
	return got.Surplus > 0 || len(evenCookies(got.Cookies)) != len(got.Cookies) ||
		slices.ContainsFunc(got.Cookies, func(c []byte) bool { return len(c)%cookieUnit != 0 })
}
