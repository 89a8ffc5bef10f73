package program

import (
	"os"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/privdrop"
)

// DropPrivileges gives up, for good, every capability but those that are kept; call it when sockets, files and clock are
// open. Where that is not possible (another system, a build with cgo) the program runs with what it has, and says so.
//
// It then opens each of the files that a reload reads (empty: none), because root without capabilities may not read what
// belongs to others: who learns of that at the start need not learn of it when a certificate has expired.
func DropPrivileges(log zerolog.Logger, keep []privdrop.Capability, reloaded ...string) {
	if err := privdrop.Keep(keep...); err != nil {
		log.Warn().Err(err).Msg("privileges are kept")
	}
	for _, path := range reloaded {
		if path == "" {
			continue
		}
		f, err := os.Open(path)
		if err == nil {
			_ = f.Close()
		} else if os.IsPermission(err) {
			log.Warn().Str("path", path).Int("user", os.Geteuid()).Msg("this file was read at the start, and a reload will not be able to: " +
				"capabilities are dropped; make the file and its folders readable for this user, as its owner or by a group")
		}
	}
}
