// Package assoc keeps the configured time sources running: one supervisor per [[source]] block finds servers
// through internal/locate, and one task per association asks them for the time.
//
// It owns the goroutines, the retry schedule and which addresses are in use; every decision about a packet is
// made in internal/source. It must not judge measurements and never touches the clock: what it learns goes as
// events into the timekeeper's inbox.
package assoc
