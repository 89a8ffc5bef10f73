package program

import (
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"ntp-daemon/internal/pki"
)

// LoadCertificate reads the files of certificate-chain-path and private-key-path. The error is a *ConfigError that
// names the file and what to do; an expired certificate is an error because no client would accept it (rows KS19,
// KS20). `ntp-ctl validate` reads them with the same pki.LoadPair.
func LoadCertificate(chain, key string, now time.Time) (*tls.Certificate, error) {
	cert, _, err := pki.LoadPair(chain, key, now)
	if err == nil {
		return cert, nil
	}
	name := "certificate-chain-path"
	var fe *pki.FileError
	if errors.As(err, &fe) && fe.Key {
		name = "private-key-path"
	}
	return nil, &ConfigError{fmt.Errorf("%s %w", name, err)}
}
