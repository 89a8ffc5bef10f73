package program

import (
	"crypto/x509"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/logging"
	"ntp-daemon/internal/pki"
)

const (
	// expiryReminder is how often.
	expiryReminder = 24 * time.Hour
	// ExpiryInterval is how often a program looks at the certificates that it uses.
	ExpiryInterval = time.Hour
)

// ExpiryNotice says that a certificate that ends then has expired, or will within 14 days; empty otherwise. now is the
// time that the program believes, which need not be the clock's.
func ExpiryNotice(notAfter, now time.Time) string {
	on := notAfter.UTC().Format(time.DateOnly)
	switch left := notAfter.Sub(now); {
	case left < 0:
		return "certificate expired on " + on + ", no client accepts it"
	case left < pki.Notice:
		return fmt.Sprintf("certificate expires on %s, in %d days", on, int(left/(24*time.Hour)))
	}
	return ""
}

// ExpiryWatch warns of certificates in use, of each once a day.
type ExpiryWatch struct {
	log   zerolog.Logger
	quiet *logging.Limiter
}

// NewExpiryWatch makes one that has warned of nothing.
func NewExpiryWatch(log zerolog.Logger) *ExpiryWatch {
	return &ExpiryWatch{log: log, quiet: logging.NewLimiter(expiryReminder)}
}

// Look warns of the certificate of that file, if there is a reason and it was not warned of within a day; elapsed is a
// time that no one sets, now the one that the program believes.
func (w *ExpiryWatch) Look(path string, leaf *x509.Certificate, elapsed, now time.Time) {
	notice := ExpiryNotice(leaf.NotAfter, now)
	if notice == "" {
		return
	}
	// A renewed certificate that is about to expire, too, is another one.
	if _, allowed := w.quiet.Allow(elapsed, path+leaf.NotAfter.String()); allowed {
		w.log.Warn().Str("path", path).Time("not_after", leaf.NotAfter).Msg(notice + "; renew it and reload")
	}
}
