package program

import (
	"os"
	"path/filepath"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"ntp-daemon/internal/privdrop"
)

// DropPrivileges gives up, for good, every capability but those that are kept; call it when sockets, files and clock are
// open. Where that is not possible (another system, a build with cgo) the program runs with what it has, and says so.
//
// It then opens each of the files that a reload reads (empty: none), because root without capabilities may not read what
// belongs to others: who learns of that at the start need not learn of it when a certificate has expired. The same for the
// folder of logPath (empty: none), where the file is made anew when logs are rotated.
func DropPrivileges(log zerolog.Logger, keep []privdrop.Capability, logPath string, reloaded ...string) {
	if err := privdrop.Keep(keep...); err != nil {
		log.Warn().Err(err).Msg("privileges are kept")
	}
	if folder := filepath.Dir(logPath); logPath != "" && unix.Access(folder, unix.W_OK|unix.X_OK) != nil {
		log.Warn().Str("path", logPath).Int("user", os.Geteuid()).Msg("this file was opened at the start, and a reload will not be able to make it anew: " +
			"capabilities are dropped; make the folder writable for this user, as its owner or by a group")
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
