package assoc

import (
	"context"
	"errors"
	"net/netip"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/logging"
	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/source"
	"ntp-daemon/internal/system"
)

const (
	// adviceDepth holds the advice that comes while a reply is awaited, at most one per event of the system.
	adviceDepth = 4
	// maxDatagrams bounds the work for one request, however many datagrams are thrown at its port.
	maxDatagrams = 256
	// quickest and newcomer are how long a request waits for its reply at least when the network has returned meanwhile: on a path
	// that is known, and on one that never had a reply. longest is the most, half of the reply window.
	quickest, newcomer, longest = 250 * time.Millisecond, time.Second, 2500 * time.Millisecond
	// kissQuiet is the least time between two log lines about the same kiss code of one source.
	kissQuiet = time.Hour
)

// task is one association at work.
type task struct {
	d    Deps
	log  zerolog.Logger
	id   ntp.SourceID
	addr netip.AddrPort

	src    *source.Source
	advice chan ntp.Advice
	swap   chan *nts.Session // latest wins; written by the supervisor
	poll   <-chan struct{}   // the supervisor asks for a poll if the source is silent
	tell   chan<- report     // to the supervisor
	quiet  *logging.Limiter  // the supervisor's, for our own bugs
	buf    []byte
	alarm  Alarm // of the next request, then of the end of the wait for its reply

	conn        Conn          // of the latest request, nil before the first
	patience    time.Duration // how long a request waits at least for its reply, see quickest: twice the round trip
	report      report        // for the supervisor
	reported    report        // as last told
	posted      system.Status // as last posted
	fault       string        // why the latest request could not be sent, or what was wrong with its reply; empty if nothing
	sendFailing bool          // a send failure was logged and none has succeeded since
	kissed      map[source.Verdict]time.Time
}

// report tells the supervisor that the need of a source changed, or that a session had its first good reply.
type report struct {
	id            ntp.SourceID
	sessionNumber int // counts the sessions swapped in, so that an old report is not taken for a new one
	need          source.Need
	good          bool // the present session has had a good reply
}

// run owns the association, its NTS session and its sockets; the timekeeper may talk to it through the Advice
// channel and the supervisor through swap. It stops when ctx ends, never by itself: a source that was denied
// waits, silent, for its supervisor.
func (t *task) run(ctx context.Context) {
	t.alarm = t.d.NewAlarm()
	defer t.alarm.Close()
	defer t.keep(nil)
	for {
		var due chan struct{} // one for each wait: nothing of an earlier one is in it
		if stopped := t.publish(ctx); !stopped {
			due = make(chan struct{})
			t.alarm.Set(time.Until(t.src.Next()), func() { close(due) })
		}
		select {
		case <-ctx.Done():
			return
		case a := <-t.advice:
			t.src.Advise(time.Now(), a)
		case <-t.poll:
			t.src.Moved()
			if st := t.src.Status(); st.Unanswered > 0 {
				t.src.PollAnew(time.Now())
			}
		case s := <-t.swap:
			t.src.SwapSession(s)
			t.src.PollSoon(time.Now())
			t.report.sessionNumber++
			t.report.good = false
		case <-due:
			t.exchange(ctx)
		}
	}
}

// exchange sends one request and waits for its reply, at most until the next request is due.
func (t *task) exchange(ctx context.Context) {
	select {
	case <-t.poll: // the network returned before this request: it needs no other
		t.src.Moved()
	default:
	}
	conn, err := t.d.Dial(t.addr)
	if err == nil {
		t.keep(conn)
		t.src.LeavesFrom(conn.LocalAddr().Addr())
	}
	// The epoch comes first: a step between the two readings then voids the measurement instead of spoiling it.
	epoch := t.d.Clock.Epoch()
	req, pollErr := t.src.Poll(time.Now(), ntp.Stamp{Time: t.d.Clock.Now()}, epoch, t.d.Rand)
	if pollErr != nil {
		t.log.Debug().Err(pollErr).Msg("poll message could not be built")
		return
	}
	if err == nil {
		err = conn.Send(req.Packet)
	}
	if err != nil {
		t.sendFailed(err)
		t.src.Unsent(time.Now(), errors.Is(err, syscall.EMSGSIZE))
		return
	}
	t.sendFailing = false
	deadline := req.Deadline
	if next := t.src.Next(); next.Before(deadline) {
		deadline = next
	}
	// No deadline of the context's: its timer would wake the process when the reply has long been there.
	wait, cancel := context.WithCancel(ctx)
	defer cancel()
	sent := time.Now()
	t.alarm.Set(deadline.Sub(sent), cancel)
	hurried := t.hurry(wait, cancel, sent)
	t.fault = source.NoReply.String()
	t.await(ctx, wait, conn, req)
	cancel()
	now := time.Now()
	changed := <-hurried
	if changed {
		t.src.Moved()
	}
	lost := changed && t.src.Waiting()
	if lost || !now.Before(req.Deadline) {
		t.src.Lapse(now)
	}
	switch {
	case lost:
		t.src.PollAnew(now)
		t.patience = min(2*t.patience, longest) // the path may have become a longer one
	case t.fault == "":
		t.patience = min(max(2*now.Sub(sent), quickest), longest)
	}
}

// hurry ends the wait for the reply to a request of before the network returned: what was sent then is lost, unless the reply is
// still under way. What it returns tells, once the wait has ended, whether that was so.
func (t *task) hurry(wait context.Context, end func(), sent time.Time) <-chan bool {
	hurried, patience := make(chan bool, 1), t.patience
	go func() {
		select {
		case <-wait.Done():
			hurried <- false
			return
		case <-t.poll:
		}
		again := time.NewTimer(time.Until(sent.Add(patience)))
		defer again.Stop()
		select {
		case <-wait.Done():
		case <-again.C:
			end()
		}
		hurried <- true
	}()
	return hurried
}

// keep holds the latest socket open until the next request has its own. Linux stamps received packets only while
// some socket asks for it, and starts with a delay: without this the reply would often arrive unstamped.
func (t *task) keep(conn Conn) {
	if t.conn != nil {
		_ = t.conn.Close()
	}
	t.conn = conn
}

// await reads until the request has its reply or wait, which is within ctx, ends. A refused datagram never ends
// the wait, so that noise cannot suppress the reply that comes after it.
func (t *task) await(ctx, wait context.Context, conn Conn, req source.Request) {
	for range maxDatagrams {
		out, err := t.receive(wait, conn, req)
		if err == errPanicked {
			t.fault = errPanicked.Error()
			continue
		}
		if err != nil {
			if wait.Err() == nil {
				t.log.Debug().Err(err).Msg("could not receive packet")
			}
			break
		}
		switch out.Verdict {
		case source.Accepted:
			t.report.good, t.fault = true, ""
			if !out.Sample {
				return
			}
			out.Measurement.OurRefID = ntp.OwnRefID(conn.LocalAddr().Addr().WithZone(""))
			t.post(ctx, Message{Event: system.Measured{Measurement: out.Measurement}})
			return
		case source.KissRate, source.KissDeny, source.KissNAK:
			t.fault = out.Verdict.String()
			t.logKiss(out)
		default:
			t.log.Debug().Stringer("verdict", out.Verdict).Msg("ignored packet")
			if out.Verdict.Content() {
				t.fault = out.Verdict.String()
			}
		}
		if !t.src.Waiting() {
			return
		}
	}
	<-wait.Done() // a socket that fails or is flooded is of no more use: this poll is lost
}

// receive waits for one datagram and gives it to the source. A panic costs this datagram and no more (L09).
func (t *task) receive(wait context.Context, conn Conn, req source.Request) (out source.Outcome, err error) {
	defer t.contain(&err)
	n, from, rx, err := conn.Receive(wait, t.buf)
	if err != nil {
		return source.Outcome{}, err
	}
	if tx, ok := conn.TxStamp(); ok {
		t.src.Sent(req.ID, tx)
	}
	return t.src.Receive(time.Now(), t.buf[:n], from, rx), nil
}

// publish shows the state, tells the timekeeper and the supervisor what changed for them, and reports whether polling is over.
func (t *task) publish(ctx context.Context) (stopped bool) {
	st := t.src.Status()
	t.d.Statuses.set(t.id, st)
	status := system.Status{ID: t.id, Poll: st.Poll, Reachable: st.Reachable(), Fault: t.fault, Unusable: st.Stuck()}
	if status != t.posted {
		t.posted = status
		t.post(ctx, Message{Event: status})
	}
	t.report.need = st.Need
	if t.report != t.reported {
		select {
		case t.tell <- t.report:
			t.reported = t.report
		case <-ctx.Done():
		}
	}
	return st.Need.Final()
}

// post hands an event to the timekeeper; it waits for room as long as ctx lasts.
func (t *task) post(ctx context.Context, m Message) {
	select {
	case t.d.Inbox <- m:
	case <-ctx.Done():
	}
}

// sendFailed logs the first of a row of failures loudly and the others quietly (C31), and makes it the source's fault, in
// words that do not change with the port of the attempt.
func (t *task) sendFailed(err error) {
	t.fault = "not sent: " + err.Error()
	if errno := syscall.Errno(0); errors.As(err, &errno) {
		t.fault = "not sent: " + errno.Error()
	}
	level := zerolog.WarnLevel
	if t.sendFailing {
		level = zerolog.DebugLevel
	}
	t.sendFailing = true
	t.log.WithLevel(level).Err(err).Msg("poll message could not be sent")
}

// logKiss logs a kiss code once in a while: the packet is not authenticated, so it must not fill a disk.
func (t *task) logKiss(o source.Outcome) {
	now := time.Now()
	if last, ok := t.kissed[o.Verdict]; ok && now.Sub(last) < kissQuiet {
		return
	}
	t.kissed[o.Verdict] = now
	switch o.Verdict {
	case source.KissRate:
		t.log.Warn().Msg("source requested rate limit")
	case source.KissDeny:
		t.log.Warn().Str("kiss", o.Kiss.Text()).Msg("source denied service")
	default:
		t.log.Warn().Msg("source does not recognise our cookies")
	}
}
