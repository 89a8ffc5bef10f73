package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"ntp-daemon/internal/pki"
)

// The places that apply with DefaultPath only, and the name of the cookie keys inside any state directory.
const (
	defaultState  = "/var/lib/ntp-daemon"
	defaultSocket = "/run/ntp-daemon/observe"
	defaultXDP    = "/run/ntp-daemon/xdp"
	keysetFile    = "keys"
)

// mostProblems bounds the report on a file that is something else altogether.
const mostProblems = 200

// Load reads, checks and completes a configuration of ntp-daemon. An empty path means DefaultPath, which may
// be absent: the result is then the configuration of an empty file. A file that is named, and a default one
// that exists but cannot be read, must load (row F07). Tokens and certificates of pools are read
// from the files that keys name; what else there is to say about this machine is for Examine.
//
// The error is Problems, or *NotBuilt together with the whole Config.
func Load(path string) (*Config, []Warning, error) {
	return load(path, DefaultPath)
}

func load(path, standard string) (*Config, []Warning, error) {
	l := newLoader(path, true)
	if path == "" {
		l.file = standard
	}
	l.atDefaultPath = filepath.Clean(l.file) == standard
	data, err := readCapped(l.file, longestConfig)
	if path == "" && errors.Is(err, fs.ErrNotExist) {
		l.fileWarning("is absent", "the configuration of an empty file is used: no sources, no servers")
		cfg := l.config(nil)
		cfg.Path = ""
		return cfg.result(l)
	}
	if err != nil {
		return nil, nil, Problems{unreadable(l.file, err)}
	}
	l.checkMode(l.file)
	cfg := l.config(data)
	return cfg.result(l)
}

// unreadable is the problem of a file that gives no bytes.
func unreadable(file string, err error) Problem {
	remedy := "name a configuration with -c FILE"
	if errors.Is(err, fs.ErrPermission) {
		remedy = "make it readable for the user that runs the program"
	}
	return Problem{File: file, What: err.Error(), Remedy: remedy}
}

// LoadText is Load for the text of the file alone, for a look at a configuration whose files are on another machine or
// belong to another user. Files that keys name are not touched, and the values that they hold are left out.
func LoadText(path string) (*Config, []Warning, error) {
	file := path
	if path == "" {
		file = DefaultPath
	}
	data, err := readCapped(file, longestConfig)
	switch {
	case path == "" && errors.Is(err, fs.ErrNotExist):
		return Load(path)
	case err != nil:
		return nil, nil, Problems{unreadable(file, err)}
	}
	return Parse(file, data)
}

// Parse is LoadText for text that is at hand.
func Parse(name string, data []byte) (*Config, []Warning, error) {
	l := newLoader(name, false)
	l.atDefaultPath = filepath.Clean(name) == DefaultPath
	return l.config(data).result(l)
}

// result chooses between the configuration and what is wrong with it.
func (c *Config) result(l *loader) (*Config, []Warning, error) {
	if ps := l.sorted(); len(ps) > 0 {
		return nil, l.warnings, ps
	}
	c.examinations = l.examinations
	if len(l.missing) > 0 {
		return c, l.warnings, &NotBuilt{Problems: l.missing}
	}
	return c, l.warnings, nil
}

// loader collects what is found while a file is read.
type loader struct {
	file          string
	files         bool // whether files that keys name are read
	atDefaultPath bool
	tokensNoted   bool // who can read the tokens in the file is to be examined
	doc           *document
	problems      []placed
	more          int // problems beyond mostProblems
	missing       []Problem
	warnings      []Warning
	examinations  []examination
	listeners     []listener
	trust         map[string]*pki.Roots // what sources believe, by where it is written; equal ones are one
	possible      int                   // sources that can agree at best
	blocks        int                   // [[source]] tables
	elsewhere     []Problem             // of files that belong to this one
	ignored       map[string]bool       // keys of a list that were told to be unknown

	everyKey func() map[place]bool // that a file of this kind may hold; nil: not known
	homes    map[string][]string   // tables by the keys that they have, from everyKey; nil: nobody has asked
	seen     map[place]bool        // every key that the loader asks for, for everyKey; nil when a file is read
}

// see notes a key that the loader asks for.
func (l *loader) see(table, key string) {
	if l.seen != nil {
		l.seen[place{table, key}] = true
	}
}

// placed is a problem with its offset, for the order of the report.
type placed struct {
	at int
	Problem
}

func newLoader(file string, files bool) *loader {
	return &loader{file: file, files: files, doc: &document{lines: []int{0}}, trust: map[string]*pki.Roots{}, ignored: map[string]bool{}}
}

// within is the loader of another file that belongs to this one, such as a list; join takes over what it found.
func (l *loader) within(path string) *loader { return newLoader(path, l.files) }

// join puts what another file's loader found behind what this one did.
func (l *loader) join(other *loader) {
	l.elsewhere = append(l.elsewhere, other.sorted()...)
	l.warnings = append(l.warnings, other.warnings...)
	for _, e := range other.examinations {
		e.order += longestConfig
		l.examinations = append(l.examinations, e)
	}
}

func (l *loader) at(offset int, key, what, remedy string) Problem {
	line, column := l.doc.position(offset)
	return Problem{File: l.file, Line: line, Column: column, Key: shorten(key), What: what, Remedy: remedy}
}

func (l *loader) problem(offset int, key, what, remedy string) {
	if len(l.problems) >= mostProblems {
		l.more++
		return
	}
	l.problems = append(l.problems, placed{offset, l.at(offset, key, what, remedy)})
}

func (l *loader) notBuilt(offset int, key, feature string) {
	l.missing = append(l.missing, l.at(offset, key, "not built yet: "+feature, "remove it"))
}

func (l *loader) warn(offset int, key, what, remedy string) {
	l.warnings = append(l.warnings, Warning{Problem: l.at(offset, key, what, remedy)})
}

func (l *loader) note(offset int, key, what, remedy string) {
	l.warnings = append(l.warnings, Warning{Problem: l.at(offset, key, what, remedy), Info: true})
}

// told adds what a check found.
func (l *loader) told(id CheckID, offset int, key, what, remedy string) {
	l.warnings = append(l.warnings, Warning{Problem: l.at(offset, key, what, remedy), Check: id})
}

func (l *loader) fileWarning(what, remedy string) {
	l.warnings = append(l.warnings, Warning{Problem: Problem{File: l.file, What: what, Remedy: remedy}})
}

// sorted returns the problems in the order of the file.
func (l *loader) sorted() Problems {
	slices.SortStableFunc(l.problems, func(a, b placed) int { return a.at - b.at })
	ps := make(Problems, len(l.problems))
	for i, p := range l.problems {
		ps[i] = p.Problem
	}
	if l.more > 0 {
		ps = append(ps, Problem{File: l.file, What: fmt.Sprintf("%d more problems", l.more)})
	}
	return append(ps, l.elsewhere...)
}

// parse makes the tree; a file that is no TOML leaves an empty one and one problem.
func (l *loader) parse(data []byte) *table {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")) // editors of one vendor write a byte order mark
	doc, syntax := parse(data)
	l.doc = doc
	if syntax != nil {
		l.problem(syntax.at, syntax.key, syntax.what, "correct the TOML")
		doc.root = newTable(byHeader, 0)
	}
	return &table{l: l, node: doc.root}
}

// config reads every table of ntp-daemon's file.
func (l *loader) config(data []byte) *Config {
	if len(data) > longestConfig {
		l.problem(0, "", fmt.Sprintf("is larger than %d bytes", longestConfig), "name a configuration")
		data = nil
	}
	root := l.parse(data)
	l.everyKey = everyDaemonKey
	c := &Config{Path: l.file}
	l.legacy(root)
	l.poolsFile(root)
	c.Observability = l.observability(root.sub("observability"))
	defaults := l.sourceDefaults(root.sub("source-defaults"))
	before := len(l.problems)
	for _, t := range root.each("source") {
		t.legacyKeys()
		l.blocks++
		if s, ok := l.source(t, defaults); ok {
			c.Sources = append(c.Sources, s)
		}
	}
	soundSources := len(l.problems) == before
	servers := root.each("server")
	for _, t := range servers {
		t.legacyKeys()
		c.Servers = append(c.Servers, l.server(t))
	}
	c.Keyset = l.keyset(root.sub("keyset"))
	for _, t := range root.each("nts-ke-server") {
		t.legacyKeys()
		c.KEServers = append(c.KEServers, l.keServer(t))
	}
	sync := root.sub("synchronization")
	c.Synchronization = l.synchronization(sync)
	if t := root.sub("clock"); root.has("clock") {
		l.hardwareClock(t)
	}
	c.State = l.state(root.sub("state"))
	c.Process = l.daemonProcess(root.sub("process"), c.Observability.ObservationPath)
	l.checkXDP(c, servers)
	if c.Keyset.StoragePath == "" && c.State.Directory != "" {
		c.Keyset.StoragePath = filepath.Join(c.State.Directory, keysetFile)
	}
	root.finish()
	if soundSources {
		l.checkSources(c, sync)
	}
	if len(l.problems) == 0 {
		l.check(c, sync)
	}
	return c
}

// State is the table [state].
type State struct {
	Directory string // for drift, start allowance and cookie keys; empty: no state is kept
}

// state reads [state].
func (l *loader) state(t *table) State {
	var s State
	if l.atDefaultPath {
		s.Directory = defaultState
	}
	if t.file("directory", defaultState, &s.Directory) {
		t.examine("directory", examineFolder(s.Directory))
	}
	t.finish()
	return s
}
