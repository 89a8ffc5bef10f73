package web

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestLocal: only names that a page from elsewhere cannot have.
func TestLocal(t *testing.T) {
	h := Local(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { Send(w, 200, Text, []byte("in")) }))
	for host, want := range map[string]int{
		"localhost": 200, "LOCALHOST:9976": 200, "localhost.:9976": 200, "127.0.0.1": 200, "127.0.0.1:9976": 200, "127.9.9.9:1": 200,
		"[::1]": 200, "[::1]:9976": 200, "::1": 200, "[::ffff:127.0.0.1]:9976": 200,
		"": 421, "evil.example": 421, "evil.example:9976": 421, "localhost.evil.example": 421, "127.0.0.1.evil.example:80": 421,
		"192.0.2.1": 421, "[2001:db8::1]:80": 421, "0.0.0.0:9976": 421, "0": 421, "2130706433": 421, "127.1": 421, "notlocalhost": 421,
		"[::1": 200, "localhost:": 200, ":9976": 421,
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Host = host
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("Host %q: %d, want %d", host, w.Code, want)
		}
	}
}
