package poolke

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"

	"ntp-daemon/internal/nts/member"
	"ntp-daemon/internal/nts/record"
	"ntp-daemon/internal/secret"
)

// A monitor asks for one time source by its id, with a key that it shares with the pool (docs/rules/pool.md#monitoring). It is
// answered by that one alone, whatever its weight, breaker, verdict and families, and told in private codes where the
// exchange failed. Monitors are counted apart from users, and take no part in shares. A failure that a monitor meets counts
// for the breaker, as one that a user meets does.

// knowsMonitor reports whether a token is one of the keys of monitors. All are compared, in a time that depends on lengths
// only.
func (c *Config) knowsMonitor(token secret.Bytes) bool {
	known := 0
	for _, key := range c.MonitoringKeys {
		known |= subtle.ConstantTimeCompare(key, token)
	}
	return known == 1
}

// errMonitor is the end of a request that named a time source with a key that is none.
var errMonitor = errors.New("the key of a monitor is none of those of monitoring-keys-path")

// monitorError is a failure with the code that only monitors see.
type monitorError struct {
	code record.ErrorCode
	err  error
}

func (e *monitorError) Error() string { return e.err.Error() }
func (e *monitorError) Unwrap() error { return e.err }

// runNamed has the one time source serve that the request names.
func (x *userExchange) runNamed(ctx context.Context) ([]byte, Outcome, error) {
	i, ok := x.snap.directory.Named(x.req.UUID)
	if !ok {
		return nil, NoServer, &monitorError{record.CodeUnknownServer, errors.New("no time source has the id that a monitor asked for")}
	}
	answer, out, err := x.try(ctx, x.snap.upstreams[i], 1)
	switch {
	case userGone(ctx):
		return nil, UserGone, ctx.Err()
	case out == NoProtocol:
		return record.AppendNoProtocol(nil), out, nil
	case out == NoAlgorithm:
		return record.AppendNoAlgorithm(nil, record.Protocol(x.protocol)), out, nil
	case err != nil:
		return nil, out, &monitorError{monitorCode(err, x.bound()), fmt.Errorf("for a monitor: %w", err)}
	}
	return answer, out, nil
}

// monitorCode says where an exchange failed: on the way to the time source, at its answer about what it can do, or, once it
// has the keys, by an error of its own. A time that is over says none of these.
func monitorCode(err error, bound bool) record.ErrorCode {
	peer, told := errors.AsType[*member.CodeError](err)
	switch class := faultClass(err); {
	case class == "timeout":
		return record.CodeInternal
	case class == "name", class == "connection", class == "tls", class == "certificate":
		return record.CodeUnreachable
	case !bound:
		return record.CodeNoSupport
	case told && peer.Code <= record.CodeBadRequest:
		return record.CodeKeysRefused
	}
	return record.CodeInternal
}
