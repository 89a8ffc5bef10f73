package pki

import (
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// How often roots are read again.
const (
	rootsAge   = time.Hour   // a root that was taken away is believed no longer than this
	rootsDoubt = time.Minute // after a chain that ends nowhere; one that fails again and again costs one reading a minute
)

// Roots are the authorities that a client believes: those of the system, those of one file, or both. crypto/x509 reads the
// system's once in the life of a process, and a time daemon lives for years: these are read again every hour, when a chain
// ends at an unknown authority, at most once a minute, and when Forget says so. A root that is added or taken away while
// the program runs is so seen without a restart. Safe for use by several goroutines.
type Roots struct {
	file   string
	system bool

	mu   sync.Mutex
	pool *x509.CertPool
	err  error
	read time.Time // when pool and err were made; zero: never
}

// NewRoots returns the roots of a file, which may be empty, and if wanted those of the system. Nothing is read yet.
func NewRoots(file string, system bool) *Roots { return &Roots{file: file, system: system} }

// File is the file of the roots; empty: there is none.
func (r *Roots) File() string {
	if r == nil {
		return ""
	}
	return r.file
}

// Equal reports whether two believe the same authorities as of now. What cannot be read is equal to the same places only.
func (r *Roots) Equal(o *Roots, now time.Time) bool {
	if r == o || r == nil || o == nil {
		return r == o
	}
	a, errA := r.Pool(now)
	b, errB := o.Pool(now)
	if errA != nil || errB != nil {
		return errA != nil && errB != nil && r.file == o.file && r.system == o.system
	}
	return a.Equal(b)
}

// Pool returns the authorities as of now, or why there are none: the file cannot be read or holds nothing that can be used.
// A nil *Roots is the system's as crypto/x509 knows them.
func (r *Roots) Pool(now time.Time) (*x509.CertPool, error) {
	if r == nil {
		return nil, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if age := now.Sub(r.read); r.read.IsZero() || age > rootsAge || age < 0 || r.err != nil && age > rootsDoubt {
		r.reread(now)
	}
	return r.pool, r.err
}

// Doubt is told of every key exchange that failed. It reads the roots again if the other side's chain ended at an unknown
// authority and the last reading is a minute old, and reports whether they changed, so that another try has a chance.
func (r *Roots) Doubt(err error, now time.Time) bool {
	if r == nil || !errors.As(err, new(x509.UnknownAuthorityError)) {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if age := now.Sub(r.read); age >= 0 && age < rootsDoubt {
		return false
	}
	before := r.pool
	r.reread(now)
	return r.pool != nil && (before == nil || !r.pool.Equal(before))
}

// Forget makes the next use read the roots again.
func (r *Roots) Forget() {
	if r != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.read = time.Time{}
	}
}

// reread reads all. What cannot be read any more leaves nothing: a root that cannot be checked is not believed.
func (r *Roots) reread(now time.Time) {
	r.read, r.err = now, nil
	r.pool = x509.NewCertPool()
	if r.system {
		r.pool = systemRoots()
	}
	if r.file == "" {
		return
	}
	list, _, err := ReadRoots(r.file)
	if err != nil {
		r.pool, r.err = nil, err
		return
	}
	for _, c := range list {
		r.pool.AddCert(c)
	}
}

// ReadRoots returns the authorities of a file. One that cannot be used costs itself and a fault; the error, a *FileError,
// is about a file that cannot be read or that leaves none.
func ReadRoots(path string) (list []*x509.Certificate, faults []Fault, err error) {
	data, err := Read(path)
	if err != nil {
		return nil, nil, &FileError{Path: path, Fault: Fault{What: err.Error(), Remedy: "give the path of a readable file"}, Err: err}
	}
	blocks, faults := readPEM(data)
	for _, b := range blocks {
		if !isCertificate(b) && b.label != trusted {
			continue
		}
		c, f := certificate(b)
		if f != nil {
			faults = append(faults, *f)
			continue
		}
		list = append(list, c)
	}
	if len(list) > 0 {
		return list, faults, nil
	}
	f := Fault{What: "holds no certificate", Remedy: "give a file in PEM form"}
	if len(faults) > 0 {
		f = faults[0]
	}
	return nil, nil, &FileError{Path: path, Fault: f}
}

// systemFiles and systemFolders are where systems keep their roots, as crypto/x509 looks for them: the first file that is
// there, and every folder. The two variables of OpenSSL take their place.
var (
	systemFiles = []string{
		"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/pki/tls/cacert.pem",
		"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/ssl/cert.pem",
	}
	systemFolders = []string{"/etc/ssl/certs", "/etc/pki/tls/certs"}
)

// systemRoots reads the roots of the system as they are now. Where none are found the platform may have another place for
// them, which crypto/x509 knows.
func systemRoots() *x509.CertPool {
	files, folders := systemFiles, systemFolders
	if f := os.Getenv("SSL_CERT_FILE"); f != "" {
		files = []string{f}
	}
	if d := os.Getenv("SSL_CERT_DIR"); d != "" {
		folders = strings.Split(d, ":")
	}
	pool, found := x509.NewCertPool(), false
	for _, f := range files {
		if data, err := Read(f); err == nil {
			found = pool.AppendCertsFromPEM(data) || found
			break
		}
	}
	for _, d := range folders {
		entries, err := os.ReadDir(d)
		if err != nil {
			continue
		}
		for _, e := range entries {
			path := filepath.Join(d, e.Name())
			if st, err := os.Stat(path); err != nil || !st.Mode().IsRegular() {
				continue
			}
			if data, err := Read(path); err == nil {
				found = pool.AppendCertsFromPEM(data) || found
			}
		}
	}
	if !found {
		if p, err := x509.SystemCertPool(); err == nil {
			return p
		}
	}
	return pool
}
