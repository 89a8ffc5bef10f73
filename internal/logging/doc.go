// Package logging builds the program's zerolog.Logger: the console shape of the Rust suite, JSON, or lines
// with journal priorities. zerolog keeps its settings in package variables; New is the only place that sets
// them, once per process, and everybody else receives a Logger as a value.
//
// It writes logs and nothing else: it never exits, never opens files and never logs on its own behalf.
package logging
