// Package config turns a TOML file into validated structs for ntp-daemon and nts-pool-ke.
//
// It owns every key, default and range of both files: the keys of every ntpd-rs 1.x era, those of the seed's
// pool, and the suite's own additions. Load and LoadPool report every problem of a file at once, each as one
// line "FILE:LINE:COL: KEY: what; remedy", and use nothing of a file that has one.
//
// The syntax is parsed by go-toml's parser, which keeps positions; keys and values are read from that tree by
// hand, because decoding into structs stops at the first wrong type and loses the position of a value that is
// well formed but out of range (docs/rules/configuration.md#strict-toml).
//
// It must not open sockets, read the clock, or know what the other packages do with a value.
package config
