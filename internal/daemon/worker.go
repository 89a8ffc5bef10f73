package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/server"
	"ntp-daemon/internal/udp"
)

// Pauses after a receive error: an interface that is down must not make a worker spin (S24), and service must
// be back within 5 s of its return.
const (
	firstPause = 10 * time.Millisecond
	lastPause  = time.Second
)

// awaitSent is after how many batches it is looked for the stamp of an answer: that of the answer, and the next one,
// because behind a queueing discipline an answer leaves late.
const awaitSent = 2

// panicLogGap is the least time between two log lines about contained panics; the counter has them all.
const panicLogGap = time.Minute

// socket is the worker's side of a udp.Server.
type socket interface {
	Receive(*udp.Batch) error
	Send(*udp.Batch) (failed int)
	Sent(*udp.Batch, func(id uint32, at ntp.Timestamp))
	Interrupt()
	Dropped() uint64 // by the kernel, before we saw them
	Close() error
}

// worker answers the requests of one socket. There is one for each CPU and listen address.
type worker struct {
	socket    socket
	responder *server.Responder
	view      *atomic.Pointer[ntp.View]      // published by the timekeeper; nil inside means never synchronised
	keys      *atomic.Pointer[nts.KeySet]    // published by the keyring; nil inside means no NTS
	access    *atomic.Pointer[server.Access] // published at a reload; nil inside leaves the lists as they are
	readClock func() ntp.Timestamp           // the steered clock
	epoch     func() server.Epoch            // of that clock
	counters  *server.Counters               // this worker's own
	lead      *server.Lead                   // the Responder's; nil: no answer is stamped for it
	table     *server.Interleaves            // the Responder's; nil: the same
	nonces    *nonces                        // the Responder's; nil: they come from elsewhere
	log       zerolog.Logger                 // start, stop and our own bugs; never a line per packet

	batch     *udp.Batch
	sent      func(uint32, ntp.Timestamp) // w.left, made once
	era       server.Epoch                // the clock's epoch, for the whole batch
	now       func() ntp.Timestamp        // w.reading, made once
	read      ntp.Timestamp               // for the next answer; zero, as after each sending: the clock is read
	verdict   server.Verdict              // the latest one
	verdicts  int                         // in a row that are not counted yet
	awaited   int                         // batches after which stamps of answers may come
	nextPanic time.Time                   // when the next panic may be logged
}

// run owns the socket, the responder and the counters; nobody else touches them, except to read the counters.
// It stops when ctx ends and closes the socket. It has no thread of its own: the runtime preempts whoever runs for
// 10 ms, and a goroutine locked to its thread can then go on only after another thread was woken, found it and woke its
// thread in turn (docs/rules/server.md#calls-that-cannot-block).
func (w *worker) run(ctx context.Context) error {
	defer w.socket.Close()
	defer context.AfterFunc(ctx, w.socket.Interrupt)()
	w.batch, w.sent, w.now = udp.NewBatch(), w.left, w.reading
	pause := firstPause
	for {
		err := w.socket.Receive(w.batch)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, udp.ErrClosed):
			return fmt.Errorf("serve: %w", err)
		case err != nil:
			if !sleep(ctx, pause) {
				return nil
			}
			pause = min(2*pause, lastPause)
			continue
		}
		pause = firstPause
		w.serve()
	}
}

// serve answers the batch. The pointers are loaded once for all of it.
func (w *worker) serve() {
	view, keys := w.view.Load(), w.keys.Load()
	w.era = w.epoch()
	if w.access != nil {
		if lists := w.access.Load(); lists != nil {
			w.responder.SetAccess(lists)
		}
	}
	if w.batch.Len() > 0 {
		w.nonces.at(w.batch.Datagram(0).Received)
	}
	answers := 0
	for i := range w.batch.Len() {
		w.lead.Place(i % server.SendEvery)
		verdict := w.answer(i, view, keys)
		w.count(verdict)
		if verdict == server.Answered || verdict == server.AnsweredNTS {
			answers++
		}
		if (i+1)%server.SendEvery == 0 {
			w.send()
		}
	}
	w.send()
	if answers > 0 {
		w.counters.CountAnswers(w.batch.Datagram(0).Received, answers)
	}
	if w.awaited > 0 {
		w.awaited--
		w.socket.Sent(w.batch, w.sent)
	}
}

// count counts a verdict, at the latest before the answers leave.
func (w *worker) count(v server.Verdict) {
	if v != w.verdict {
		w.flush()
		w.verdict = v
	}
	w.verdicts++
	if v != server.Answered { // it may have taken long
		w.read = 0
	}
}

func (w *worker) flush() {
	w.counters.Count(w.verdict, w.verdicts)
	w.verdicts = 0
}

// send sends what is queued.
func (w *worker) send() {
	w.flush()
	w.read = 0
	if failed := w.socket.Send(w.batch); failed > 0 {
		w.counters.CountSendErrors(failed)
	}
}

// answer queues the answer to datagram i. A panic is a bug of ours; it costs this packet and no more (L09).
func (w *worker) answer(i int, view *ntp.View, keys *nts.KeySet) (verdict server.Verdict) {
	defer func() {
		if p := recover(); p != nil {
			verdict = server.Panicked
			w.reportPanic(p)
		}
	}()
	d := w.batch.Datagram(i)
	switch d.Flaw {
	case udp.Truncated:
		return server.TooLong
	case udp.NotUnicast:
		return server.ImpossibleAddress
	}
	request := server.Datagram{Data: d.Data, From: d.From, To: d.To, Received: d.Received, Epoch: w.era}
	reply, verdict := w.responder.Respond(w.batch.ReplyBuffer(i), view, keys, &request, w.now)
	if reply != nil {
		w.queue(i, reply)
	}
	return verdict
}

// reading is the clock's, read once for the plain answers in a row that leave together: what the Lead adds to it is that of their
// place.
func (w *worker) reading() ntp.Timestamp {
	if w.read.IsZero() {
		w.read = w.readClock()
	}
	return w.read
}

// queue queues the answer to datagram i, with the wish to be told when it leaves where the next answer to that client will need
// it, and now and then else.
func (w *worker) queue(i int, reply []byte) {
	s := w.responder.Sending()
	if s.Interleaved {
		w.counters.CountInterleaved()
	}
	id, ask := s.ID, s.Stamped
	if !ask {
		id, ask = w.lead.Ask()
	}
	if !ask {
		w.batch.Answer(i, reply)
		return
	}
	w.batch.AnswerStamped(i, reply, id)
	w.awaited = awaitSent
}

// left hears when the answer with that id left.
func (w *worker) left(id uint32, at ntp.Timestamp) {
	if id < server.LeadID && w.table != nil {
		w.table.Sent(id, at)
		return
	}
	if miss, ok := w.lead.Left(id, at); ok {
		w.counters.CountMiss(miss)
	}
}

// reportPanic logs the place of a contained panic, at most once a minute.
func (w *worker) reportPanic(p any) {
	if now := time.Now(); now.After(w.nextPanic) {
		w.nextPanic = now.Add(panicLogGap)
		w.log.Error().Str("panic", fmt.Sprint(p)).Bytes("stack", debug.Stack()).Msg("bug: request dropped after a panic")
	}
}

// provision returns how many workers may wait briefly for the next datagram, which keeps a processor of the Go scheduler's, and gives
// the scheduler one processor more, and those of the handshakes: the rest of the daemon needs one at any time, on a machine
// with a single CPU, too. Not one for each worker, of which there are as many as CPUs for each address: the collector takes a
// quarter of them all. Whoever has set GOMAXPROCS knows better. Call it once, before the workers start.
func provision(workers, handshakes int) (brief int) {
	brief = min(workers, runtime.NumCPU())
	if want := brief + handshakes + 1; runtime.GOMAXPROCS(0) < want && os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(want)
	}
	return min(brief, runtime.GOMAXPROCS(0)-1)
}

// sleep pauses; false if ctx ended meanwhile.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
