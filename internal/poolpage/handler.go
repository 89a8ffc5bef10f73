package poolpage

import (
	"net/http"
	"strconv"
	"time"

	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/web"
)

// How often a browser may be told to load the page again.
const (
	shortestRefresh = 5 * time.Second
	longestRefresh  = time.Hour
)

// Handler answers with the page of a snapshot, under headers that let a browser do nothing else with it. The parameter refresh
// asks for a page that loads itself anew after so many seconds; one out of range is ignored.
func (p *Page) Handler(snapshot func() *observe.Snapshot) http.HandlerFunc {
	policy := Policy()
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := p.Render(snapshot(), refreshOf(r.URL.Query().Get("refresh")))
		if err != nil { // the template knows its data; a test renders everything
			web.Send(w, http.StatusInternalServerError, web.Text, []byte("bug: "+err.Error()+"\n"))
			return
		}
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		web.Send(w, http.StatusOK, web.HTML, body)
	}
}

// refreshOf reads the parameter refresh; 0: none that counts.
func refreshOf(text string) time.Duration {
	n, err := strconv.Atoi(text)
	if d := time.Duration(n) * time.Second; err == nil && n < 1<<16 && d >= shortestRefresh && d <= longestRefresh {
		return d
	}
	return 0
}
