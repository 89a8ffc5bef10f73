package program

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// TestExpiryWatch: a certificate is warned of from 14 days ahead, once a day, by the time that is believed.
func TestExpiryWatch(t *testing.T) {
	end := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	leaf := &x509.Certificate{NotAfter: end}
	const day = 24 * time.Hour
	for _, tt := range []struct {
		left time.Duration
		want string
	}{
		{15 * day, ""}, {14*day + time.Second, ""}, {14*day - time.Second, "expires on 2027-03-01, in 13 days"},
		{time.Hour, "expires on 2027-03-01, in 0 days"}, {-time.Second, "expired on 2027-03-01"},
	} {
		if got := ExpiryNotice(end, end.Add(-tt.left)); !strings.Contains(got, tt.want) || (got == "") != (tt.want == "") {
			t.Errorf("%v left: %q, want %q", tt.left, got, tt.want)
		}
	}
	var log strings.Builder
	w, start := NewExpiryWatch(zerolog.New(&log)), time.Now()
	for h := range 48 { // two days, looked at each hour, while the believed time stands still
		w.Look("/etc/chain.pem", leaf, start.Add(time.Duration(h)*time.Hour), end.Add(-day))
	}
	if n := strings.Count(log.String(), "/etc/chain.pem"); n != 2 {
		t.Errorf("warned %d times in two days: %s", n, log.String())
	}
	w.Look("/etc/chain.pem", &x509.Certificate{NotAfter: end.Add(day)}, start.Add(47*time.Hour), end.Add(-day))
	if n := strings.Count(log.String(), "/etc/chain.pem"); n != 3 {
		t.Errorf("a renewed one that ends soon, too: %d lines", n)
	}
}
