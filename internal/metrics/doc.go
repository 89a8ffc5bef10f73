// Package metrics turns a snapshot of the daemon into the Prometheus text format: first the families of ntpd-rs
// 1.9 with their names, units and order, so that dashboards and alerts made for it work, then our own, which
// begin with ntp_daemon_.
//
// It is pure: no socket, no clock, no registry.
package metrics
