package exporter

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/metrics"
	"ntp-daemon/internal/observe"
)

// reader gets the daemon's snapshot.
type reader func(ctx context.Context) (*observe.Snapshot, error)

// handler answers GET and HEAD on four paths and knows no other; in particular none that libraries register on the
// default mux (row X05).
func handler(read reader, log zerolog.Logger) http.Handler {
	mux := http.NewServeMux()
	text := serveMetrics(read, log)
	mux.HandleFunc("GET /metrics", text)
	mux.HandleFunc("GET /{$}", text) // scrapers set up for ntpd-rs use any path, in practice these two
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		send(w, http.StatusOK, "text/plain; charset=utf-8", []byte("ok\n"))
	})
	mux.HandleFunc("GET /readyz", serveReady(read))
	return mux
}

// serveMetrics answers 500 with an empty body when the daemon cannot be read, as ntpd-rs does.
func serveMetrics(read reader, log zerolog.Logger) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s, err := read(r.Context())
		if err != nil {
			log.Warn().Err(err).Msg("no snapshot for a scrape")
			send(w, http.StatusInternalServerError, "text/plain; charset=utf-8", nil)
			return
		}
		send(w, http.StatusOK, metrics.ContentType, metrics.Append(nil, s))
	}
}

// readiness is the body of /readyz.
type readiness struct {
	Ready  bool   `json:"ready"`
	State  string `json:"state,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// serveReady answers 200 while the daemon can be read and is synchronised, or the pool can be read, else 503 and why.
func serveReady(read reader) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body readiness
		s, err := read(r.Context())
		switch {
		case err != nil:
			body.Reason = err.Error()
		case s.Pool != nil: // a pool that answers serves
			body.Ready = true
		case !s.Suite.Synchronized:
			body.State, body.Reason = s.Suite.State, "the clock is not synchronised"
			if s.Suite.Refusal != "" {
				body.Reason = s.Suite.Refusal
			} else if s.Suite.ClockUnset {
				body.Reason = "the clock is unset"
			}
		default:
			body.Ready, body.State = true, s.Suite.State
		}
		code := http.StatusOK
		if !body.Ready {
			code = http.StatusServiceUnavailable
		}
		text, err := json.Marshal(body)
		if err != nil { // strings and a bool always encode
			code = http.StatusInternalServerError
		}
		send(w, code, "application/json", append(text, '\n'))
	}
}

func send(w http.ResponseWriter, code int, contentType string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_, _ = w.Write(body) // a scraper that left is no event
}
