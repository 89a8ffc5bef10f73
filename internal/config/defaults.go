package config

// DefaultObservationPath is the observation socket of a daemon that runs with DefaultPath. Tools fall back on it
// when they may not read that file themselves.
const DefaultObservationPath = defaultSocket

// DefaultPoolSocket is the observation socket of an nts-pool-ke that runs as its unit and its sample configuration have it.
const DefaultPoolSocket = "/run/nts-pool-ke/observe"
