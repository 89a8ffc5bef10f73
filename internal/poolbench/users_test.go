//go:build linux && !race

package poolbench_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/nts/ke"
	"ntp-daemon/internal/nts/record"
)

// errCurve: the two agreed on another curve than the one that is measured.
var errCurve = errors.New("the server does not do this key agreement")

// users ask one server, each once, over a connection from an address of its own: TLS 1.3 without resumption, one request
// for AEAD 15, the answer checked as a client of ours checks it.
type users struct {
	address string
	tls     *tls.Config
	curve   tls.CurveID // that must come out; 0: any
	count   atomic.Uint32
}

// users of a server that offer these curves; nil is what Go offers.
func (s *site) users(v server, curves []tls.CurveID) *users {
	u := &users{address: fmt.Sprintf("127.0.0.1:%d", v.port), tls: ke.ClientTLS("localhost", s.roots, nil)}
	if u.tls.CurvePreferences = curves; len(curves) > 0 {
		u.curve = curves[0]
	}
	return u
}

// dial connects from one of some thousand addresses.
func (u *users) dial(ctx context.Context) (net.Conn, error) {
	n := u.count.Add(1)
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 8, byte(n>>7&15), byte(1+n&127))}}
	return d.DialContext(ctx, "tcp4", u.address)
}

// connect is a connection after its handshake.
func (u *users) connect(ctx context.Context) (*tls.Conn, error) {
	raw, err := u.dial(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := ke.Handshake(ctx, raw, u.tls)
	if err != nil {
		return nil, err
	}
	if got := conn.ConnectionState().CurveID; u.curve != 0 && got != u.curve {
		_ = conn.Close()
		return nil, fmt.Errorf("%w: %v", errCurve, got)
	}
	return conn, nil
}

// exchange is one key exchange from the first packet to the last.
func (u *users) exchange(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := u.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	algorithms := []aead.Algorithm{aead.SIVCMAC256}
	if err := ke.WriteMessage(conn, deadline, record.AppendUser(nil, algorithms, "", nil)); err != nil {
		return err
	}
	msg, err := ke.NewReader(conn, record.ResponseLimits).Next()
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	resp, fault := record.ParseResponse(msg, record.Offer{Protocols: []record.Protocol{record.NTPv4}, Algorithms: algorithms})
	if fault != record.None {
		return fmt.Errorf("%w: %v", fault, resp.Code)
	}
	if len(resp.Cookies) != record.MaxCookies {
		return fmt.Errorf("%d cookies", len(resp.Cookies))
	}
	return nil
}

// outcome is what became of many exchanges.
type outcome struct {
	mu      sync.Mutex
	took    []time.Duration // of each that succeeded
	failed  int
	err     error // of the first failure
	elapsed time.Duration
}

func (o *outcome) note(took time.Duration, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case err == nil:
		o.took = append(o.took, took)
	case o.err == nil:
		o.err = err
		fallthrough
	default:
		o.failed++
	}
}

func (o *outcome) rate() float64 { return float64(len(o.took)) / o.elapsed.Seconds() }

// crowd makes n exchanges, so many at one time, each as soon as another has ended.
func (u *users) crowd(ctx context.Context, n, atOnce int) *outcome {
	o := &outcome{}
	var next atomic.Int64
	var all sync.WaitGroup
	began := time.Now()
	for range atOnce {
		all.Go(func() {
			for next.Add(1) <= int64(n) && ctx.Err() == nil {
				start := time.Now()
				err := u.exchange(ctx)
				o.note(time.Since(start), err)
			}
		})
	}
	all.Wait()
	o.elapsed = time.Since(began)
	return o
}

// stream makes exchanges that begin independently of each other, so many a second on average, for so long. Each is timed
// from the moment at which it should have begun.
func (u *users) stream(ctx context.Context, perSecond float64, length time.Duration) *outcome {
	o := &outcome{}
	random := rand.New(rand.NewPCG(1, 2)) // the same arrivals in every run
	var all sync.WaitGroup
	began := time.Now()
	for next := began; ; {
		next = next.Add(time.Duration(random.ExpFloat64() / perSecond * float64(time.Second)))
		if next.Sub(began) > length || ctx.Err() != nil {
			break
		}
		time.Sleep(time.Until(next))
		all.Go(func() {
			err := u.exchange(ctx)
			o.note(time.Since(next), err)
		})
	}
	all.Wait()
	o.elapsed = time.Since(began)
	return o
}
