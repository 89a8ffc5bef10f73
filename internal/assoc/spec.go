package assoc

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/nts/ke"
	"ntp-daemon/internal/resolve"
	"ntp-daemon/internal/source"
	"ntp-daemon/internal/system"
	"ntp-daemon/internal/udp"
)

// defaultBurst is how many good replies a new source wants quickly, so that the first update of the clock comes
// within 8 s: four requests two seconds apart (as chrony's iburst).
const defaultBurst = 4

// Spec is one [[source]] block.
type Spec struct {
	Mode    source.Mode
	Host    string       // name or address: of the server, or of the key exchange server or pool
	Port    uint16       // at Host: NTP, or NTS-KE
	Count   int          // sources wanted; the single modes take 1 whatever it says
	Ignore  []netip.Addr // never used
	Roots   *x509.CertPool
	Version uint8 // of our requests; 0 means 4
	// Algorithms is what a key exchange offers, most wanted first; nil: ke.DefaultAlgorithms.
	Algorithms []aead.Algorithm

	PollMin, PollMax, PollInitial ntp.PollExp

	Burst   int // good replies wanted quickly from a new source; 0 means 4, negative none
	Spawner int // n of SpawnerId(n) in the logs
}

// Name is host:port as configured.
func (s *Spec) Name() string { return net.JoinHostPort(s.Host, strconv.Itoa(int(s.Port))) }

// count is how many sources the block keeps.
func (s *Spec) count() int {
	if s.Mode.Plural() {
		return s.Count
	}
	return 1
}

func (s *Spec) burst() int {
	if s.Burst == 0 {
		return defaultBurst
	}
	return max(s.Burst, 0)
}

// check refuses what could only end in a busy loop or a panic; the configuration has better words for it.
func (s *Spec) check() error {
	switch {
	case s.Host == "" || s.Port == 0:
		return errors.New("source needs a host and a port")
	case s.count() < 1:
		return fmt.Errorf("source %s: count must be at least 1", s.Name())
	case s.Mode > source.ModeNTSPool:
		return fmt.Errorf("source %s: unknown mode %s", s.Name(), s.Mode)
	}
	return nil
}

// Clock is what a task needs of the steered clock.
type Clock interface {
	Now() ntp.Timestamp
	Epoch() uint64 // rises by one with each step
}

// Resolver finds the addresses of a name; *resolve.Resolver is the one for production.
type Resolver interface {
	Lookup(ctx context.Context, host string, port uint16) (resolve.Answer, error)
}

// Conn is the socket of one request; *udp.Conn is the one for production.
type Conn interface {
	Send(b []byte) error
	// Receive waits for a datagram until ctx ends, and then returns an error.
	Receive(ctx context.Context, buf []byte) (n int, from netip.AddrPort, rx ntp.Stamp, err error)
	// TxStamp is when the datagram left, if that is known by now.
	TxStamp() (ntp.Stamp, bool)
	Close() error
}

// Deps is the outside world of a supervisor. All of it is used by several goroutines at once.
type Deps struct {
	Clock Clock
	// Map turns a kernel stamp into a reading of the steered clock; nil means they are the same. Used by the
	// default Dial only.
	Map      func(ntp.Timestamp) ntp.Timestamp
	Resolve  Resolver                                                        // nil: the system's name servers
	Exchange func(ctx context.Context, c ke.ClientConfig) (ke.Result, error) // nil: ke.Exchange
	Dial     func(remote netip.AddrPort) (Conn, error)                       // nil: udp.Dial, a fresh random port each time
	Rand     io.Reader
	Log      zerolog.Logger
	Inbox    chan<- Message // never closed; the reader must drain it until Supervise has returned or ctx ended
	NextID   func() ntp.SourceID
	Claims   *Claims          // shared by all supervisors of a process; nil: none
	Statuses *Statuses        // shared like Claims; nil: nobody looks
	Time     func() time.Time // what the clock shows, for certificate validity; nil: time.Now

	Bootstrap *Bootstrap // shared like Claims; nil: the clock is believed from the start
}

// withDefaults fills in the production parts that were left out.
func (d Deps) withDefaults() Deps {
	if d.Resolve == nil {
		d.Resolve = resolve.New(resolve.Config{})
	}
	if d.Exchange == nil {
		d.Exchange = ke.Exchange
	}
	if d.Dial == nil {
		now, kernelStamp := d.Clock.Now, d.Map
		d.Dial = func(remote netip.AddrPort) (Conn, error) { return udp.Dial(remote, now, kernelStamp) }
	}
	if d.Time == nil {
		d.Time = time.Now
	}
	if d.Claims == nil {
		d.Claims = NewClaims()
	}
	if d.Statuses == nil {
		d.Statuses = NewStatuses()
	}
	return d
}

// Message is what a task tells the timekeeper.
type Message struct {
	Event system.Event // Added, Measured, Status or Removed
	// Advice takes the system process's wishes for the source; set with system.Added only. It is buffered: if it
	// is full the source has not read older advice yet, and the sender should drop rather than wait.
	Advice chan<- ntp.Advice
}
