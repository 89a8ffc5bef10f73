package assoc

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/nts/ke"
	"ntp-daemon/internal/source"
	"ntp-daemon/internal/system"
)

// floor is the earliest time that a machine in these tests can have; its clock starts in 1970.
var floor = time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)

// unset gives the testbed a clock that shows 1970 until set is called.
func unset(r *testbed, allowed bool) (set func(time.Time)) {
	shown := time.Unix(0, 0)
	begin := time.Now()
	r.time = func() time.Time { return shown.Add(time.Since(begin)) }
	r.bootstrap = NewBootstrap(floor.AddDate(-1, 0, 0), floor, allowed)
	return func(t time.Time) {
		shown = t.Add(-time.Since(begin))
		r.bootstrap.Settle()
	}
}

// certified is a key exchange with a host whose certificate is valid from the floor on, for as long as given.
func certified(valid time.Duration, result func(n int) ke.Result) func(n int, c ke.ClientConfig) (ke.Result, error) {
	return func(n int, c ke.ClientConfig) (ke.Result, error) {
		at := c.Time()
		if at.Before(floor) || at.After(floor.Add(valid)) {
			return ke.Result{}, fmt.Errorf("TLS handshake: %w", x509.CertificateInvalidError{Reason: x509.Expired, Detail: at.String()})
		}
		return result(n), nil
	}
}

// one is a site with one NTS server.
func one(r *testbed) func(int) ke.Result {
	srv := newSecureHost(7)
	r.names.set("ntp.example.", "192.0.2.1")
	r.names.set("new.example.", "192.0.2.2")
	r.net.set("192.0.2.1:123", srv.host)
	r.net.set("192.0.2.2:123", srv.host)
	return func(int) ke.Result {
		return ke.Result{Session: srv.session(), Server: "ntp.example", ServerGiven: true, Port: 123}
	}
}

var ntsSpec = config.Source{Mode: source.ModeNTS, Host: "ke.example", Port: 4460}

func TestKC19_RefusedByDefault(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		unset(r, false)
		r.ke.set(certified(time.Hour*24*365, one(r)))
		r.supervise(t, ntsSpec)
		pass(10 * time.Minute)
		if n := len(r.net.requests("192.0.2.1:123")); n != 0 || len(r.ke.times()) < 3 {
			t.Errorf("%d NTP requests, %d exchanges", n, len(r.ke.times()))
		}
		if got := r.log.lines(""); len(got) != 1 || !strings.Contains(got[0], "nts-bootstrap = true") || !strings.Contains(got[0], "key exchange failed") {
			t.Errorf("log: %q", got)
		}
	})
}

func TestKC19_JudgedAtTheFloorThenByTheClock(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		set := unset(r, true)
		r.ke.set(certified(time.Hour*24*365, one(r)))
		r.supervise(t, ntsSpec)
		pass(8 * time.Second)
		if n := r.recorder.measured(1); n != 4 || !r.ke.asked[0].Time().Equal(floor) {
			t.Fatalf("%d measurements with keys judged at %v", n, r.ke.asked[0].Time())
		}
		if n := len(r.log.lines("to be confirmed")); n != 1 {
			t.Errorf("log: %q", r.log.lines(""))
		}
		set(floor.AddDate(0, 3, 0))
		pass(time.Second)
		if n := len(r.ke.times()); n != 2 || r.ke.asked[1].Time().Before(floor.AddDate(0, 2, 0)) {
			t.Errorf("%d exchanges", n)
		}
		pass(time.Hour)
		if n := len(r.ke.times()); n != 2 {
			t.Errorf("%d exchanges, the confirmed one should last", n)
		}
		if n := r.recorder.measured(1); r.recorder.alive() != "192.0.2.1:123" || len(of[system.Removed](r.recorder)) != 0 || n < 6 {
			t.Errorf("alive %s, removed %v, %d measurements", r.recorder.alive(), of[system.Removed](r.recorder), n)
		}
		if n := len(r.log.lines("certificate confirmed")); n != 1 {
			t.Errorf("log: %q", r.log.lines(""))
		}
	})
}

// A certificate that was valid at the floor and has expired since, or an exchange that is not had again for another
// reason, ends the source. It comes back when the host has a certificate that is good now.
func TestKC19_DroppedUnlessConfirmed(t *testing.T) {
	for name, second := range map[string]func(n int, c ke.ClientConfig) (ke.Result, error){
		"expired": nil,
		"refused": func(int, ke.ClientConfig) (ke.Result, error) { return ke.Result{}, errors.New("connection refused") },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *testbed) {
				set := unset(r, true)
				result := one(r)
				r.ke.set(certified(time.Hour, result))
				r.supervise(t, ntsSpec)
				pass(8 * time.Second)
				if second != nil {
					r.ke.set(second)
				}
				set(floor.AddDate(0, 3, 0))
				pass(2 * time.Second)
				gone := of[system.Removed](r.recorder)
				if len(gone) != 1 || gone[0].Reason != "certificate not confirmed" || r.recorder.alive() != "" {
					t.Fatalf("removed %v, alive %s", gone, r.recorder.alive())
				}
				if n := len(r.log.lines("could not be repeated")); n != 1 {
					t.Errorf("log: %q", r.log.lines(""))
				}
				before := r.recorder.measured(1)
				pass(5 * time.Minute)
				if n := r.recorder.measured(1); n != before || r.recorder.alive() != "" {
					t.Errorf("%d samples after the end, alive %s", n-before, r.recorder.alive())
				}
				r.ke.set(certified(time.Hour*24*365, result))
				pass(15 * time.Minute)
				if r.recorder.alive() != "192.0.2.1:123" || len(r.log.lines("to be confirmed")) != 1 {
					t.Errorf("alive %s, log %q", r.recorder.alive(), r.log.lines(""))
				}
			})
		})
	}
}

// A clock that shows a believable time is believed, with and without the option.
func TestKC19_ClockAfterTheFloor(t *testing.T) {
	for _, allowed := range []bool{false, true} {
		bubble(t, func(t *testing.T, r *testbed) {
			r.time = func() time.Time { return floor.Add(time.Minute) }
			r.bootstrap = NewBootstrap(floor.AddDate(-1, 0, 0), floor, allowed)
			r.ke.set(certified(time.Hour, one(r)))
			r.supervise(t, ntsSpec)
			pass(8 * time.Second)
			r.bootstrap.Settle()
			r.bootstrap.Settle()
			pass(time.Minute)
			if n := len(r.ke.times()); n != 1 || r.recorder.alive() != "192.0.2.1:123" {
				t.Errorf("%d exchanges, alive %s", n, r.recorder.alive())
			}
		})
	}
}

// An exchange that began before the clock was set and ended after it is repeated like the others.
func TestKC19_ExchangeAcrossTheUpdate(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		set := unset(r, true)
		judged := certified(time.Hour*24*365, one(r))
		r.ke.set(func(n int, c ke.ClientConfig) (ke.Result, error) {
			if n == 1 {
				time.Sleep(3 * time.Second)
			}
			return judged(n, c)
		})
		r.supervise(t, ntsSpec)
		pass(time.Second)
		set(floor.AddDate(0, 3, 0))
		pass(5 * time.Second)
		if n := len(r.ke.times()); n != 2 || len(r.log.lines("certificate confirmed")) != 1 {
			t.Errorf("%d exchanges, log %q", n, r.log.lines(""))
		}
	})
}

// A host that names another server once the clock is right gets it, and the one that it named before is not kept.
func TestKC19_AnotherServer(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		set := unset(r, true)
		result := one(r)
		r.ke.set(certified(time.Hour*24*365, func(n int) ke.Result {
			res := result(n)
			if n > 1 {
				res.Server = "new.example"
			}
			return res
		}))
		r.supervise(t, ntsSpec)
		pass(8 * time.Second)
		set(floor.AddDate(0, 3, 0))
		pass(5 * time.Second)
		if gone := of[system.Removed](r.recorder); len(gone) != 1 || gone[0].Reason != "not confirmed" || r.recorder.alive() != "192.0.2.2:123" || len(r.ke.times()) != 2 {
			t.Errorf("removed %v, alive %s, %d exchanges", gone, r.recorder.alive(), len(r.ke.times()))
		}
	})
}

// Every source of a pool is confirmed, and none is asked for that is held already.
func TestKC19_Pool(t *testing.T) {
	for name, valid := range map[string]time.Duration{"good": time.Hour * 24 * 365, "expired": time.Hour} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *testbed) {
				set := unset(r, true)
				srv := newSecureHost(7)
				for i := 1; i <= 3; i++ {
					addr := fmt.Sprintf("192.0.2.%d", i)
					r.names.set(fmt.Sprintf("s%d.example.", i), addr)
					r.net.set(addr+":123", srv.host)
				}
				r.ke.set(func(n int, c ke.ClientConfig) (ke.Result, error) {
					free := 1
					for strings.Contains(strings.Join(c.Denied, " "), fmt.Sprintf("s%d.example", free)) {
						free++
					}
					return certified(valid, func(int) ke.Result {
						return ke.Result{Session: srv.session(), Server: fmt.Sprintf("s%d.example", free), ServerGiven: true, Port: 123}
					})(n, c)
				})
				r.supervise(t, config.Source{Mode: source.ModeNTSPool, Host: "pool.example", Port: 4460, Count: 3})
				pass(10 * time.Second)
				const all = "192.0.2.1:123 192.0.2.2:123 192.0.2.3:123"
				if r.recorder.alive() != all {
					t.Fatalf("alive %s", r.recorder.alive())
				}
				set(floor.AddDate(0, 3, 0))
				pass(5 * time.Second)
				want, exchanges, removed := all, 6, 0
				if name == "expired" {
					want, exchanges, removed = "", 4, 3
				}
				if got := of[system.Removed](r.recorder); r.recorder.alive() != want || len(r.ke.times()) != exchanges || len(got) != removed {
					t.Errorf("alive %s, %d exchanges, removed %v", r.recorder.alive(), len(r.ke.times()), got)
				}
			})
		})
	}
}

// TestKC19_ConfirmedOnesStay: a confirmation that fails ends the sources that were believed for the same certificate and are
// not confirmed yet, and no other.
func TestKC19_ConfirmedOnesStay(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		set := unset(r, true)
		for i := range 3 {
			srv := newSecureHost(byte(7 + i))
			r.names.set(fmt.Sprintf("s%d.example.", i+1), fmt.Sprintf("192.0.2.%d", i+1))
			r.net.set(fmt.Sprintf("192.0.2.%d:123", i+1), srv.host)
		}
		srv := newSecureHost(7)
		r.ke.set(func(n int, c ke.ClientConfig) (ke.Result, error) {
			if n > 4 {
				return ke.Result{}, errors.New("connection refused")
			}
			free := 1
			for strings.Contains(strings.Join(c.Denied, " "), fmt.Sprintf("s%d.example", free)) {
				free++
			}
			return ke.Result{Session: srv.session(), Server: fmt.Sprintf("s%d.example", free), ServerGiven: true, Port: 123}, nil
		})
		r.supervise(t, config.Source{Mode: source.ModeNTSPool, Host: "pool.example", Port: 4460, Count: 3})
		pass(time.Second)
		set(floor.AddDate(0, 3, 0)) // the first is confirmed by the fourth exchange, the others are not
		pass(time.Second)
		if got := r.recorder.alive(); got != "192.0.2.1:123" {
			t.Errorf("alive %s, removed %v", got, of[system.Removed](r.recorder))
		}
	})
}

// The options that a failure names are those that help.
func TestKC19_Remedy(t *testing.T) {
	early, late := time.Unix(0, 0), floor.Add(time.Hour)
	expired := fmt.Errorf("TLS: %w", x509.CertificateInvalidError{Reason: x509.Expired})
	for _, row := range []struct {
		b    *Bootstrap
		now  time.Time
		err  error
		want bool
	}{
		{NewBootstrap(floor.AddDate(-1, 0, 0), floor, false), early, expired, true},
		{NewBootstrap(floor.AddDate(-1, 0, 0), floor, false), late, expired, false},
		{NewBootstrap(floor.AddDate(-1, 0, 0), floor, true), early, expired, false},
		{NewBootstrap(floor.AddDate(-1, 0, 0), floor, false), early, x509.CertificateInvalidError{Reason: x509.CANotAuthorizedForThisName}, false},
		{NewBootstrap(floor.AddDate(-1, 0, 0), floor, false), early, errors.New("refused"), false},
		{nil, early, expired, false},
	} {
		if got := row.b.remedy(row.now, row.err); (got != "") != row.want {
			t.Errorf("%+v: %q", row, got)
		}
	}
}

// A server whose time contradicts the certificate is rejected whichever time that was judged by (N25).
func TestKC19_TimeOutsideTheCertificate(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		unset(r, true)
		srv := newSecureHost(7)
		srv.to = floor // the bubble's server lives in 2000
		r.names.set("ntp.example.", "192.0.2.1")
		r.net.set("192.0.2.1:123", srv.host)
		r.ke.set(certified(time.Hour*24*365, func(int) ke.Result {
			return ke.Result{Session: srv.session(), Server: "ntp.example", ServerGiven: true, Port: 123, Remote: netip.MustParseAddr("192.0.2.9")}
		}))
		r.supervise(t, ntsSpec)
		pass(10 * time.Second)
		if n := r.recorder.measured(1); n != 0 || len(r.log.lines(source.NeedReject.String())) == 0 {
			t.Errorf("%d measurements, log %q", n, r.log.lines(""))
		}
	})
}

// A time that was saved when the sources lied must not lock the machine out for ever: when its clock has been set, by
// hand or by itself, that judges, and the first update confirms it. A clock that shows less than the build does not.
func TestKC19_FloorInTheFuture(t *testing.T) {
	built, now := floor, floor.AddDate(0, 2, 0)
	cert := &x509.Certificate{NotBefore: floor.AddDate(0, -6, 0), NotAfter: floor.AddDate(0, 6, 0)}
	for _, row := range []struct {
		story string
		shown time.Time
		cert  *x509.Certificate
		up    bool
	}{
		{"clock is right", now, cert, true},
		{"clock is before the build", built.AddDate(0, -1, 0), cert, false},
		{"certificate has expired by the clock, too", floor.AddDate(0, 7, 0), cert, false},
		{"certificate is not valid yet", now, &x509.Certificate{NotBefore: floor.AddDate(20, 0, 0), NotAfter: floor.AddDate(21, 0, 0)}, false},
	} {
		t.Run(row.story, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *testbed) {
				begin := time.Now()
				r.time = func() time.Time { return row.shown.Add(time.Since(begin)) }
				r.bootstrap = NewBootstrap(built, floor.AddDate(10, 0, 0), true)
				result := one(r)
				r.ke.set(func(n int, c ke.ClientConfig) (ke.Result, error) {
					if at := c.Time(); at.Before(row.cert.NotBefore) || at.After(row.cert.NotAfter) {
						return ke.Result{}, fmt.Errorf("TLS handshake: %w", x509.CertificateInvalidError{Cert: row.cert, Reason: x509.Expired})
					}
					return result(n), nil
				})
				r.supervise(t, ntsSpec)
				pass(8 * time.Second)
				if up := r.recorder.alive() != ""; up != row.up || up != (len(r.log.lines("one of which is wrong; to be confirmed")) == 1) {
					t.Errorf("alive %q, log %q", r.recorder.alive(), r.log.lines(""))
				}
				if !row.up {
					return
				}
				r.bootstrap.Settle()
				pass(time.Minute)
				if r.recorder.alive() == "" || len(r.log.lines("certificate confirmed")) != 1 {
					t.Errorf("after the first update: alive %q, log %q", r.recorder.alive(), r.log.lines(""))
				}
			})
		})
	}
}
