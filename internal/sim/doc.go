// Package sim is a virtual world for tests: true time, imperfect oscillators, a network that delays and loses,
// and nodes that run the production source, timekeeper, system, algorithm, server and nts code over them. The
// clocks answer as the kernel does: they can be changed by others, refuse, and be left at a base frequency.
//
// One goroutine, an event heap ordered by (time, sequence), no sleeping, one random stream per link, oscillator
// and association: the same seed gives the same bytes. It supplies clocks and links and nothing else; what a
// node decides is decided by production code. Only _test.go files and tools/accuracy may import it.
//
// Worlds are built by tests, or from scenarios written as text (File, Case), with figures of each run in a Result.
package sim
