package program

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// LoadCertificate reads the files of certificate-chain-path and private-key-path. The error is a *ConfigError that
// names the file and what to do; an expired certificate is an error because no client would accept it (rows KS19,
// KS20).
func LoadCertificate(chain, key string, now time.Time) (*tls.Certificate, error) {
	for _, f := range []struct{ path, key string }{{chain, "certificate-chain-path"}, {key, "private-key-path"}} {
		if err := readable(f.path); err != nil {
			return nil, &ConfigError{fmt.Errorf("%s %s: %w; check the path and that this user may read it", f.key, f.path, err)}
		}
	}
	cert, err := tls.LoadX509KeyPair(chain, key)
	if err != nil {
		return nil, &ConfigError{fmt.Errorf("certificate-chain-path %s with private-key-path %s: %w; the key must be an "+
			"unencrypted PEM key and belong to the first certificate of the chain", chain, key, err)}
	}
	if now.After(cert.Leaf.NotAfter) {
		return nil, &ConfigError{fmt.Errorf("certificate-chain-path %s: certificate expired on %s; renew it",
			chain, cert.Leaf.NotAfter.UTC().Format(time.DateOnly))}
	}
	return &cert, nil
}

// readable reports why a file cannot be read, without the path that the caller names anyway.
func readable(path string) error {
	f, err := os.Open(path)
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			return pe.Err
		}
		return err
	}
	return f.Close()
}
