package daemon

import (
	"context"
	"errors"
	"fmt"
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

// sendEvery is how many datagrams of a batch are answered before the answers leave. A transmit stamp ages while
// the rest of its batch is worked on; a quarter of a batch keeps that below 50 µs at saturation.
const sendEvery = 8

// panicLogGap is the least time between two log lines about contained panics; the counter has them all.
const panicLogGap = time.Minute

// socket is the worker's side of a udp.Server.
type socket interface {
	Receive(*udp.Batch) error
	Send(*udp.Batch) (failed int)
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
	counters  *server.Counters               // this worker's own
	log       zerolog.Logger                 // start, stop and our own bugs; never a line per packet

	batch     *udp.Batch
	nextPanic time.Time // when the next panic may be logged
}

// run owns the socket, the responder and the counters; nobody else touches them, except to read the counters.
// It keeps its thread to itself, because that thread sits in a blocking call. It stops when ctx ends and closes
// the socket.
func (w *worker) run(ctx context.Context) error {
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	defer w.socket.Close()
	defer context.AfterFunc(ctx, w.socket.Interrupt)()
	w.batch = udp.NewBatch()
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
	if w.access != nil {
		if lists := w.access.Load(); lists != nil {
			w.responder.SetAccess(lists)
		}
	}
	for i := range w.batch.Len() {
		w.counters.Count(w.answer(i, view, keys))
		if (i+1)%sendEvery == 0 {
			w.send()
		}
	}
	w.send()
}

// send sends what is queued.
func (w *worker) send() {
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
	reply, verdict := w.responder.Respond(w.batch.ReplyBuffer(i), view, keys,
		server.Datagram{Data: d.Data, From: d.From, To: d.To, Received: d.Received}, w.readClock)
	if reply != nil {
		w.batch.Answer(i, reply)
	}
	return verdict
}

// reportPanic logs the place of a contained panic, at most once a minute.
func (w *worker) reportPanic(p any) {
	if now := time.Now(); now.After(w.nextPanic) {
		w.nextPanic = now.Add(panicLogGap)
		w.log.Error().Str("panic", fmt.Sprint(p)).Bytes("stack", debug.Stack()).Msg("bug: request dropped after a panic")
	}
}

// provision gives the Go scheduler one processor more than there are workers. Measured: with as many processors
// as threads in blocking calls, each return from one pays for getting its processor back (a quarter of the CPU
// time at saturation). Call it once, before the workers start.
func provision(workers int) {
	if want := workers + 1; runtime.GOMAXPROCS(0) < want {
		runtime.GOMAXPROCS(want)
	}
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
