package poolke

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"

	"ntp-daemon/internal/handover"
	"ntp-daemon/internal/metrics"
	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/poolpage"
	"ntp-daemon/internal/program"
	"ntp-daemon/internal/web"
)

// firstFreePort is the lowest that needs no privilege.
const firstFreePort = 1024

// admin is the HTTP listener for operators and their programs; nil if none is wanted. Users are served without it, too.
func (o *observer) admin() *program.Part {
	at := o.p.snap.Load().cfg.Admin
	if !at.IsValid() {
		return nil
	}
	var ln net.Listener
	return program.NewPart(fmt.Sprintf("the admin listener on %v", at), o.p.log, func() (err error) {
		fits := func(h *handover.Socket) bool { return h.At(at) }
		if ln, err = o.p.sockets.get(adminSocket, fits, func() (net.Listener, error) { return net.Listen("tcp", at.String()) }); err != nil {
			return fmt.Errorf("admin-listen: %w; change it, or end who has the address", err)
		}
		o.p.log.Info().Msgf("admin listener on http://%v/", ln.Addr())
		return nil
	}, func(ctx context.Context) error {
		h := http.Handler(adminHandler(o.snapshot, o.notReady))
		if at.Addr().Unmap().IsLoopback() {
			h = web.Local(h)
		}
		return web.Serve(ctx, ln, h, o.p.log)
	})
}

// adminHandler answers GET and HEAD on the pages of docs/rules/control.md#admin and knows no other.
func adminHandler(snapshot func() *observe.Snapshot, notReady func() []string) *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", poolpage.New().Handler(snapshot))
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		web.Send(w, http.StatusOK, metrics.ContentType, metrics.Append(nil, snapshot()))
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		text, err := json.MarshalIndent(snapshot(), "", "  ")
		if err != nil { // a number that JSON has no word for, which is a bug
			web.Send(w, http.StatusInternalServerError, web.Text, []byte("bug: the status cannot be written as JSON\n"))
			return
		}
		web.Send(w, http.StatusOK, web.JSON, append(text, '\n'))
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		web.Send(w, http.StatusOK, web.Text, []byte("ok\n"))
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		code, text := http.StatusOK, "ready\n"
		if why := notReady(); len(why) > 0 {
			code, text = http.StatusServiceUnavailable, "not ready: "+strings.Join(why, "; ")+"\n"
		}
		web.Send(w, code, web.Text, []byte(text))
	})
	return mux
}
