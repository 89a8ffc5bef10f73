package exporter

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/metrics"
	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/web"
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
		web.Send(w, http.StatusOK, web.Text, []byte("ok\n"))
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
			web.Send(w, http.StatusInternalServerError, web.Text, nil)
			return
		}
		web.Send(w, http.StatusOK, metrics.ContentType, metrics.Append(nil, s))
	}
}

// readiness is the body of /readyz.
type readiness struct {
	Ready  bool   `json:"ready"`
	State  string `json:"state,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// serveReady answers 200 while the daemon can be read and is synchronised, or the pool is ready, else 503 and why.
func serveReady(read reader) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body readiness
		s, err := read(r.Context())
		switch {
		case err != nil:
			body.Reason = err.Error()
		case s.Pool != nil:
			body.Ready, body.State, body.Reason = s.Pool.Ready, s.Pool.Stage, strings.Join(s.Pool.NotReady, "; ")
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
		web.Send(w, code, web.JSON, append(text, '\n'))
	}
}
