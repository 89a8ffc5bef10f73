// Package exporter serves the metrics of a running daemon over HTTP. It is a process of its own, so that no HTTP
// server runs next to the clock.
//
// It reads the daemon's observation socket once per request and keeps nothing between requests.
package exporter
