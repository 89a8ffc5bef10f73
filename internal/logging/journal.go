package logging

import (
	"fmt"
	"os"
	"syscall"
)

// isJournal reports whether f is the stream that systemd connected to the journal. Its JOURNAL_STREAM holds
// the device and inode of that stream; a redirected output differs (systemd.exec(5)).
func isJournal(f *os.File, journalStream string) bool {
	if journalStream == "" {
		return false
	}
	info, err := f.Stat()
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && journalStream == fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}

// journalPrefix is the priority that sd-daemon(3) wants in front of a line; time and program name are the
// journal's business.
func journalPrefix(dst []byte, level, _ string) []byte {
	switch level {
	case "fatal", "panic", "error":
		return append(dst, "<3>"...)
	case "warn":
		return append(dst, "<4>"...)
	case "debug", "trace":
		return append(dst, "<7>"...)
	}
	return append(dst, "<6>"...)
}
