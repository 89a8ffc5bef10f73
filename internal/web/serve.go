package web

import (
	"context"
	"errors"
	"fmt"
	stdlog "log"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/net/netutil"
)

// Limits of the HTTP server (docs/rules/control.md#exporter).
const (
	maxConnections = 100
	headerTimeout  = time.Second     // from accept to the end of the header; also ends a slow loris
	requestTimeout = 2 * time.Second // for header and body, of which there should be none
	answerTimeout  = 5 * time.Second // from the header to the last byte, what the answer is made of included
	maxHeader      = 2048            // bytes; the library reads 4 KiB more before it refuses
	drainTimeout   = 2 * time.Second // for answers under way at the end
	bugGap         = time.Minute     // between two lines about panics
)

// Serve owns the listener. It stops when ctx ends and then lets answers under way finish. What the library has to say of
// single bad connections goes to the log at level debug. A panic is a bug that costs this reader an answer, and nobody else.
func Serve(ctx context.Context, ln net.Listener, h http.Handler, log zerolog.Logger) error {
	srv := &http.Server{
		Handler:           contained(h, log),
		ReadHeaderTimeout: headerTimeout, ReadTimeout: requestTimeout, WriteTimeout: answerTimeout,
		MaxHeaderBytes: maxHeader,
		ErrorLog:       stdlog.New(lines{log}, "", 0),
	}
	srv.SetKeepAlivesEnabled(false) // one request per connection, so that an idle one holds no permit
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
		defer cancel()
		stopped <- errors.Join(srv.Shutdown(drain), srv.Close())
	})
	err := srv.Serve(netutil.LimitListener(ln, maxConnections))
	if errors.Is(err, http.ErrServerClosed) && !stop() {
		if err := <-stopped; err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("stop the HTTP server: %w", err)
		}
		return nil
	}
	return fmt.Errorf("serve HTTP: %w", err)
}

// contained keeps a panic to the request in which it was met; at most one a minute is logged, because readers may be able to
// repeat it.
func contained(h http.Handler, log zerolog.Logger) http.Handler {
	log = log.Sample(&zerolog.BurstSampler{Burst: 1, Period: bugGap})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if p := recover(); p != nil {
				log.Error().Str("panic", fmt.Sprint(p)).Bytes("stack", debug.Stack()).Msg("bug: a reader over HTTP got nothing")
				Send(w, http.StatusInternalServerError, Text, []byte("bug: see the log\n"))
			}
		}()
		h.ServeHTTP(w, r)
	})
}

// lines is the log of the HTTP library.
type lines struct{ log zerolog.Logger }

// Write takes one line.
func (l lines) Write(b []byte) (int, error) {
	l.log.Debug().Msg(strings.TrimSpace(string(b)))
	return len(b), nil
}

// Send writes a whole answer that nobody may keep.
func Send(w http.ResponseWriter, code int, contentType string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_, _ = w.Write(body) // a reader that left is no event
}

// The media types that are sent.
const (
	Text = "text/plain; charset=utf-8"
	JSON = "application/json"
	HTML = "text/html; charset=utf-8"
)
