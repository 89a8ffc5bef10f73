package program

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/durable"
	"ntp-daemon/internal/privdrop"
)

// Privileges are what a program needs when it runs. Drop gives up the rest.
type Privileges struct {
	Process config.Process
	Keep    []privdrop.Capability
	Reads   []string // files that a reload reads; empty ones are none
	Writes  []string // folders where files are replaced; empty ones are none
	LogPath string   // empty: none
	Missing error    // why something that root may have to make later is not there yet; nil: everything is
}

// OtherUser is the user that Drop would change to if everything can be had; nil: none.
func OtherUser(p config.Process) *privdrop.User {
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := privdrop.LookupUser(p.User)
	if err != nil || u.UID == 0 {
		return nil
	}
	return u
}

// Drop changes to the program's user and gives up, for good, every capability but those that are kept; call it when sockets,
// files and clock are open. Where capabilities cannot be dropped (another system, a build with cgo) the program runs with
// what it has, and says so. changed reports a change of user. The error is that of a user that was asked for and cannot be
// had; then the program must end.
//
// It then opens each of the files that a reload reads, because root without capabilities, and other users, may not read what
// belongs to others: who learns of that at the start need not learn of it when a certificate has expired. The same for the
// folder of the log, where the file is made anew when logs are rotated, and for what only another user lacks.
func (p *Privileges) Drop(log zerolog.Logger) (changed bool, err error) {
	u, err := p.user(log)
	if err != nil {
		return false, err
	}
	err = privdrop.Keep(u, p.Keep...)
	impossible := errors.Is(err, privdrop.ErrCgo) || errors.Is(err, privdrop.ErrUnsupported)
	switch {
	case err != nil && u != nil && (p.Process.UserSet || !impossible):
		return false, fmt.Errorf("change to user %s of [process]: %w", u.Name, err)
	case err != nil:
		log.Warn().Err(err).Msg("privileges are kept")
		u = nil
	}
	if p.LogPath != "" && unix.Access(filepath.Dir(p.LogPath), unix.W_OK|unix.X_OK) != nil {
		log.Warn().Str("path", p.LogPath).Int("user", os.Geteuid()).Msg("this file was opened at the start, and a reload will not be able to make it anew: " +
			"capabilities are dropped; make the folder writable for this user, as its owner or by a group")
	}
	for _, path := range p.Reads {
		if err := readable(path); os.IsPermission(err) {
			log.Warn().Str("path", path).Int("user", os.Geteuid()).Msg("this file was read at the start, and a reload will not be able to: " +
				"capabilities are dropped; make the file and its folders readable for this user, as its owner or by a group")
		}
	}
	if u == nil {
		return false, nil
	}
	if err := p.unwritable(); err != nil {
		log.Warn().Err(err).Str("user", u.Name).Msg("this user could not write what root has opened: give it the file and its folder")
	}
	log.Info().Str("user", u.Name).Msg("changed to the user of the program")
	return true, nil
}

// user is who to change to; nil: nobody. One that is not asked for must be able to go on with everything.
func (p *Privileges) user(log zerolog.Logger) (*privdrop.User, error) {
	if os.Geteuid() != 0 {
		if p.Process.UserSet {
			log.Debug().Msg("[process] user has no effect, because root did not start this program")
		}
		return nil, nil
	}
	u := OtherUser(p.Process)
	if u == nil {
		if _, err := privdrop.LookupUser(p.Process.User); err != nil { // a written one that does not exist ends the start before
			log.Info().Msgf("stays root: there is no user %s on this machine; make it, or write user = \"root\" in [process], which says that this is meant", p.Process.User)
		}
		return nil, nil
	}
	err := privdrop.As(u, func() error {
		if p.Process.UserSet {
			return nil
		}
		return p.blocked()
	})
	switch {
	case err == nil:
		return u, nil
	case p.Process.UserSet:
		return nil, fmt.Errorf("change to user %s of [process]: %w; root needs CAP_SETUID and CAP_SETGID for that, or write user = \"root\"", u.Name, err)
	}
	log.Warn().Str("error", err.Error()).Msgf("stays root, because the user %s could not do this later: give it the file and its folder, "+
		"or write user = \"root\" in [process], which says that this is meant", u.Name)
	return nil, nil
}

// blocked is the first thing that this thread could not do again; nil: none.
func (p *Privileges) blocked() error {
	if p.Missing != nil {
		return p.Missing
	}
	for _, path := range p.Reads {
		if err := readable(path); err != nil {
			return err
		}
	}
	for _, dir := range p.Writes {
		if st, err := os.Stat(dir); err == nil && st.Mode()&os.ModeSticky != 0 {
			return fmt.Errorf("replace a file of another user in the folder %s, which has the sticky bit: %w", dir, os.ErrPermission)
		}
	}
	return p.unwritable()
}

// readable opens a file. What is none is no matter of rights: standard input was read, and of others the reload tells.
func readable(path string) error {
	if path == "" {
		return nil
	}
	f, _, err := durable.OpenNamed(path)
	switch {
	case err == nil:
		return f.Close()
	case errors.Is(err, durable.ErrNotRegular):
		return nil
	}
	return err
}

// unwritable is the first file or folder that cannot be written.
func (p *Privileges) unwritable() error {
	for _, dir := range p.Writes {
		if err := replaceable(dir); err != nil {
			return err
		}
	}
	if p.LogPath == "" {
		return nil
	}
	f, err := os.OpenFile(p.LogPath, os.O_WRONLY|os.O_APPEND|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	_ = f.Close()
	return replaceable(filepath.Dir(p.LogPath)) // where it is made anew when logs are rotated
}

// replaceable makes a file in a folder, as whoever replaces one there does.
func replaceable(dir string) error {
	if dir == "" {
		return nil
	}
	f, err := os.CreateTemp(dir, ".user-*.tmp")
	if err != nil {
		return fmt.Errorf("make a file in the folder %s: %w", dir, err)
	}
	_ = f.Close()
	return os.Remove(f.Name())
}
