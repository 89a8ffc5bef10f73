package config

// DefaultObservationPath is the observation socket of a daemon that runs with DefaultPath. Tools fall back on it
// when they may not read that file themselves.
const DefaultObservationPath = defaultSocket
