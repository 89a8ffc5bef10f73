package assoc

import (
	"context"
	"io"
	"net/netip"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/alarm"
	"ntp-daemon/internal/locate"
	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts/ke"
	"ntp-daemon/internal/resolve"
	"ntp-daemon/internal/system"
	"ntp-daemon/internal/udp"
)

// Clock is what a task needs of the steered clock.
type Clock interface {
	Now() ntp.Timestamp
	Epoch() uint64 // rises by one with each step
}

// Conn is the socket of one request; *udp.Conn is the one for production.
type Conn interface {
	Send(b []byte) error // wraps syscall.EMSGSIZE when the path takes no datagram of that length
	// Receive waits for a datagram until ctx ends, and then returns an error.
	Receive(ctx context.Context, buf []byte) (n int, from netip.AddrPort, rx ntp.Stamp, err error)
	// TxStamp is when the datagram left, if that is known by now.
	TxStamp() (ntp.Stamp, bool)
	// LocalAddr is where the requests leave from: the address of ours that the server sees, unless somebody translates it.
	LocalAddr() netip.AddrPort
	Close() error
}

// Alarm runs a function later; *alarm.Alarm is the one for production.
type Alarm interface {
	Set(d time.Duration, f func()) // instead of what was set before
	Stop()
	Close()
}

// Deps is the outside world of a supervisor. All of it is used by several goroutines at once.
type Deps struct {
	Clock Clock
	// Map turns a kernel stamp into a reading of the steered clock; nil means they are the same. Used by the
	// default Dial only.
	Map      func(ntp.Timestamp) ntp.Timestamp
	Resolve  locate.Resolver                           // nil: the system's name servers
	Services locate.Services                           // nil: those that the source names
	Exchange locate.Exchange                           // nil: ke.Exchange
	Own      func() []netip.Addr                       // the addresses of this host; nil: resolve.OwnAddresses
	Dial     func(remote netip.AddrPort) (Conn, error) // nil: udp.Dial, a fresh random port each time
	NewAlarm func() Alarm                              // nil: alarm.New
	Rand     io.Reader
	Log      zerolog.Logger
	Inbox    chan<- Message // never closed; the reader must drain it until Supervise has returned or ctx ended
	NextID   func() ntp.SourceID
	Claims   *Claims          // shared by all supervisors of a process; nil: none
	Statuses *Statuses        // shared like Claims; nil: nobody looks
	Time     func() time.Time // what the clock shows, for certificate validity; nil: time.Now

	// Gone is closed when nobody reads Inbox any more; nil: a supervisor that ends does not wait for its reader.
	Gone <-chan struct{}

	Network   *Network   // shared like Claims; nil: nobody tells of changes
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
		dialer := udp.NewDialer(d.Clock.Now, d.Map)
		d.Dial = func(remote netip.AddrPort) (Conn, error) { return dialer.Dial(remote) }
	}
	if d.NewAlarm == nil {
		d.NewAlarm = func() Alarm { return alarm.New() }
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
