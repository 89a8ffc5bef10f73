// Package logtarget names the parts of the programs that speak in the log (field "target"). The names of the reference
// suite's modules are kept, because users' filters look for them.
package logtarget

// The targets.
const (
	Kalman      = "ntp_proto::algorithm::kalman"   // the discipline: offsets, steps, lost consensus
	System      = "ntpd::daemon::system"           // sources, the clock, the daemon's start and end
	Spawn       = "ntpd::daemon::spawn"            // the search for sources
	Config      = "ntpd::daemon::config"           // configuration, at the start and on SIGHUP
	Server      = "ntpd::daemon::server"           // NTP server
	KeyExchange = "ntpd::daemon::keyexchange"      // NTS-KE server
	KeySet      = "ntpd::daemon::nts_key_provider" // cookie keys and their file
	Observer    = "ntpd::daemon::observer"         // observation socket
	PoolKE      = "nts_pool_ke"                    // nts-pool-ke
	FastPath    = "ntp_xdp"                        // ntp-xdp
	Exporter    = "ntp_metrics_exporter"           // ntp-metrics-exporter
)
