package program

import (
	"os"
	"slices"
)

// ballastSize is how much more garbage than usual may come together between two collections, in bytes. A key exchange leaves
// 40 KB, and almost nothing that lives: with Go's least heap of 4 MiB there would be a collection for each 60 of them, which costs up
// to a fifth of their processor time (docs/rules/key-exchange.md#collector).
const ballastSize = 8 << 20

// Ballast is memory that is never touched, for a program that answers key exchanges; nil for one that does not, and where the
// operator has tuned the collector. It takes address space only, but counts as memory in use: the next collection comes when the heap,
// with it, has doubled. A higher percentage would do the same for a small heap and have a large one grow with it; a limit without
// percentage would have the collector run without end once there is more alive than that. The caller keeps it alive.
func Ballast(answersKeyExchanges bool) []byte {
	tuned := slices.ContainsFunc([]string{"GOGC", "GOMEMLIMIT"}, func(name string) bool { return os.Getenv(name) != "" })
	if !answersKeyExchanges || tuned {
		return nil
	}
	return make([]byte, ballastSize)
}
