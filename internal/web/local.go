package web

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Local answers only requests that are meant for this machine's loopback: the Host must be localhost or an address of
// loopback. A page from elsewhere whose name is made to mean 127.0.0.1 could otherwise read what is served here through the
// browser of somebody who sits at this machine (DNS rebinding).
func Local(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !local(r.Host) {
			Send(w, http.StatusMisdirectedRequest, Text, []byte("this listener is on loopback and answers to the names localhost, 127.0.0.1 and [::1] only\n"))
			return
		}
		h.ServeHTTP(w, r)
	})
}

// local reports whether a Host header, with or without port, names loopback.
func local(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}
