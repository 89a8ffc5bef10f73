package udp

import "sync/atomic"

// BriefWaits is how many sockets may wait briefly at once (docs/rules/server.md#calls-that-cannot-block): each of them keeps a
// processor of the Go scheduler's. Sockets share it; the zero value allows none. All may be called by any goroutine.
type BriefWaits struct{ free atomic.Int32 }

// Allow lets n more sockets wait briefly.
func (w *BriefWaits) Allow(n int) { w.free.Add(int32(n)) }
