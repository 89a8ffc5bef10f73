package config

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"ntp-daemon/internal/suite"
)

// isPool tells the two kinds of file apart, and a fragment that is neither.
func isPool(text string) bool {
	return strings.Contains(text, poolTable) || strings.Contains(text, "\n[backend]\n") // ours, and the public pool's
}

// installed reports whether a file names paths of an installed system or the seed's placeholders, which do not
// exist here: its text is checked, its files are not.
func installed(path, text string) bool {
	return strings.Contains(text, `"/etc/`) || strings.Contains(path, "configs/seed/")
}

// TestConfigs loads every file of configs/, as from the top of the repository.
func TestConfigs(t *testing.T) {
	t.Chdir("../..")
	n := 0
	err := filepath.WalkDir("configs", func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".toml" {
			return err
		}
		n++
		t.Run(path, func(t *testing.T) { loadConfig(t, path) })
		return nil
	})
	if err != nil || n < 12 {
		t.Fatalf("%d files in configs/, error %v", n, err)
	}
}

func loadConfig(t *testing.T, path string) {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	var warnings []Warning
	switch {
	case isPool(text) && installed(path, text):
		_, warnings, err = ParsePool(path, b)
	case isPool(text):
		_, warnings, err = LoadPool(path)
	case installed(path, text):
		_, warnings, err = Parse(path, b)
	default:
		_, warnings, err = Load(path)
	}
	if err != nil {
		t.Error(err)
	}
	for _, w := range warnings {
		if !w.Info && !strings.Contains(path, "configs/seed/") {
			t.Errorf("warning: %s", w)
		}
	}
}

var tomlBlock = regexp.MustCompile("(?ms)^```toml\n(.*?)^```$")

// TestDocs loads every TOML block of README.md and docs/.
func TestDocs(t *testing.T) {
	t.Chdir("../..")
	paths := []string{}
	if _, err := os.Stat("README.md"); err == nil {
		paths = append(paths, "README.md")
	}
	err := filepath.WalkDir("docs", func(path string, d fs.DirEntry, err error) error {
		if err == nil && filepath.Ext(path) == ".md" {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range tomlBlock.FindAllStringSubmatch(string(b), -1) {
			if isPool(m[1]) {
				_, _, err = ParsePool(path, []byte(m[1]))
			} else {
				_, _, err = Parse(path, []byte(m[1]))
			}
			if err != nil {
				t.Errorf("%v in\n%s", err, m[1])
			}
		}
	}
}

// TestF03_WorldWritable: a configuration that everybody may change is worth a warning.
func TestF03_WorldWritable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ntp.toml")
	write(t, path, "")
	if err := os.Chmod(path, 0o646); err != nil {
		t.Fatal(err)
	}
	_, warnings, err := Load(path)
	if err != nil || !strings.Contains(verdict(warnings, err), "everybody may write it (mode 0646); chmod o-w ") {
		t.Errorf("warnings %v, error %v", warnings, err)
	}
}

func TestF03_KeyWorldWritable(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"end.fullchain.pem", "end.key"} {
		b, err := os.ReadFile(filepath.Join("../../test-keys", name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), string(b))
	}
	if err := os.Chmod(filepath.Join(dir, "end.key"), 0o602); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "ntp.toml")
	write(t, path, "[[nts-ke-server]]\nlisten = \"127.0.0.1:4460\"\nntp-server = \"localhost\"\n"+
		"certificate-chain-path = \""+dir+"/end.fullchain.pem\"\nprivate-key-path = \""+dir+"/end.key\"\n")
	_, warnings, err := whole(path)
	if err != nil || !strings.Contains(verdict(warnings, err), "end.key is writable by everybody; chmod 600 ") {
		t.Errorf("warnings %v, error %v", warnings, err)
	}
}

func TestF03_SymlinkOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("skipped: only root can give a link to another user")
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "real.toml"), "")
	link := filepath.Join(dir, "ntp.toml")
	if err := os.Symlink("real.toml", link); err != nil {
		t.Fatal(err)
	}
	if _, warnings, _ := Load(link); strings.Contains(verdict(warnings, nil), "symbolic link") {
		t.Errorf("own link warned of: %v", warnings)
	}
	if err := os.Lchown(link, 1000, 1000); err != nil {
		t.Fatal(err)
	}
	if _, warnings, _ := Load(link); !strings.Contains(verdict(warnings, nil), "symbolic link of user 1000") {
		t.Errorf("no warning: %v", warnings)
	}
}

// TestF04_WorkingDirectory: a file that happens to lie where the program starts is never read.
func TestF04_WorkingDirectory(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	write(t, "ntp.toml", "nonsense")
	cfg, _, err := load("", filepath.Join(dir, "etc", "ntp.toml"))
	if err != nil || cfg.Path != "" {
		t.Errorf("config %v, error %v", cfg, err)
	}
}

// TestF07_DefaultPath: absent is empty, unreadable is fatal; a named file must be there.
func TestF07_DefaultPath(t *testing.T) {
	dir := t.TempDir()
	standard := filepath.Join(dir, "ntp.toml")
	cfg, warnings, err := load("", standard)
	if err != nil || len(cfg.Sources)+len(cfg.Servers) != 0 || len(warnings) == 0 {
		t.Fatalf("absent: config %v, warnings %v, error %v", cfg, warnings, err)
	}
	if cfg.State.Directory != defaultState || cfg.Observability.ObservationPath != defaultSocket {
		t.Errorf("the default places do not apply: %v %v", cfg.State, cfg.Observability.ObservationPath)
	}
	if _, _, err := load(standard, standard); err == nil {
		t.Error("a named file that is absent loaded")
	}
	if err := os.Mkdir(standard, 0o700); err != nil { // unreadable for root too
		t.Fatal(err)
	}
	if _, _, err := load("", standard); err == nil || !strings.Contains(err.Error(), "ntp.toml: is a directory") {
		t.Errorf("unreadable: error %v", err)
	}
}

func TestF07_NoPermission(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("skipped: root may read everything")
	}
	path := filepath.Join(t.TempDir(), "ntp.toml")
	write(t, path, "")
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	if _, _, err := load("", path); err == nil || !strings.Contains(err.Error(), "permission denied; make it readable") {
		t.Errorf("error %v", err)
	}
}

// TestDefaultPlaces: they belong to the default path only, so that a second daemon does not take them.
func TestDefaultPlaces(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ntp.toml")
	write(t, path, "")
	cfg, _, err := load(path, filepath.Join(dir, "other.toml"))
	if err != nil {
		t.Fatal(err)
	}
	if cfg.State.Directory != "" || cfg.Keyset.StoragePath != "" || cfg.Observability.ObservationPath != "" {
		t.Errorf("named file got default places: %+v", cfg)
	}
	for _, name := range []string{"", path, filepath.Join(dir, ".", "ntp.toml")} {
		cfg, _, err = load(name, path)
		if err != nil {
			t.Fatal(err)
		}
		if cfg.Keyset.StoragePath != defaultState+"/"+keysetFile || cfg.Observability.ObservationPath != defaultSocket {
			t.Errorf("default file %q lacks the default places: %+v", name, cfg)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestKeyOfAnotherUser: who validates a file need not be allowed to read its key; roots must be readable,
// because they are used as they were at load.
func TestKeyOfAnotherUser(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("skipped: root may read everything")
	}
	dir := t.TempDir()
	key, ca := filepath.Join(dir, "key.pem"), filepath.Join(dir, "ca.pem")
	for _, path := range []string{key, ca} {
		write(t, path, "")
		if err := os.Chmod(path, 0); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "pool-ke.toml")
	text := "[nts-pool-ke-server]\nlisten = \"127.0.0.1:4460\"\ncertificate-chain-path = \"../../test-keys/end.fullchain.pem\"\nprivate-key-path = \"" + key + "\"\n"
	write(t, path, text)
	if _, warnings, err := whole(path); err != nil || !strings.Contains(verdict(warnings, nil), "not readable by this user") {
		t.Errorf("warnings %v, error %v", warnings, err)
	}
	write(t, path, text+"certificate-authority-path = \""+ca+"\"\n")
	if _, warnings, err := whole(path); err != nil || !strings.Contains(verdict(warnings, nil), "warning: "+path+":5:30: nts-pool-ke-server.certificate-authority-path: "+ca+": permission denied") {
		t.Errorf("warnings %v, error %v", warnings, err)
	}
}

// TestNamedFiles_Pipe: a pipe in place of any file that an operator names is told with the file and what to do, and nobody waits
// for its writer.
func TestNamedFiles_Pipe(t *testing.T) {
	dir, pipe := t.TempDir(), suite.Pipe(t)
	const keys = "certificate-chain-path = \"../../test-keys/end.fullchain.pem\"\nprivate-key-path = \"../../test-keys/end.key\"\n"
	const server = "[[nts-ke-server]]\nlisten = \"127.0.0.1:4460\"\n"
	const pool = "[nts-pool-ke-server]\nlisten = \"127.0.0.1:4460\"\n"
	one := func(more string) string {
		return pool + keys + "key-exchange-servers = [{ domain = \"localhost\", port = 8081" + more + " }]\n"
	}
	for _, tt := range []struct{ key, text string }{
		{"nts-ke-server.certificate-chain-path", server + strings.Replace(keys, "../../test-keys/end.fullchain.pem", pipe, 1)},
		{"nts-ke-server.private-key-path", server + strings.Replace(keys, "../../test-keys/end.key", pipe, 1)},
		{"nts-ke-server.authorized-pool-server-certificates", server + keys + "authorized-pool-server-certificates = [\"" + pipe + "\"]\n"},
		{"source.certificate-authority", "[[source]]\nmode = \"nts\"\naddress = \"localhost\"\ncertificate-authority = \"" + pipe + "\"\n"},
		{"nts-pool-ke-server.certificate-chain-path", strings.Replace(one(""), "../../test-keys/end.fullchain.pem", pipe, 1)},
		{"nts-pool-ke-server.certificate-authority-path", one("") + "certificate-authority-path = \"" + pipe + "\"\n"},
		{"nts-pool-ke-server.key-exchange-servers.token-file", one(", token-file = \"" + pipe + "\"")},
		{"nts-pool-ke-server.key-exchange-servers-file", pool + keys + "key-exchange-servers-file = \"" + pipe + "\"\n"},
		{"nts-pool-ke-server.base-shared-secret-path", one("") + "base-shared-secret-path = \"" + pipe + "\"\n"},
		{"nts-pool-ke-server.geolocation-db-path", one("") + "selection = \"geographic\"\ngeolocation-db-path = \"" + pipe + "\"\n"},
	} {
		path := filepath.Join(dir, "file.toml")
		write(t, path, tt.text)
		var said string
		if isPool("\n" + tt.text) {
			warnings, err := CheckPool(path, Machine{})
			said = verdict(warnings, err)
		} else {
			_, warnings, err := whole(path)
			said = verdict(warnings, err)
		}
		line := regexp.MustCompile(regexp.QuoteMeta(tt.key) + `: .*` + regexp.QuoteMeta(pipe) + `: is a pipe, not a regular file; \w+`)
		if !line.MatchString(said) {
			t.Errorf("%s: %s", tt.key, said)
		}
	}
	for name, load := range map[string]func() error{
		"Load":         func() error { _, _, err := Load(pipe); return err },
		"LoadText":     func() error { _, _, err := LoadText(pipe); return err },
		"LoadPool":     func() error { _, _, err := LoadPool(pipe); return err },
		"LoadPoolText": func() error { _, _, err := LoadPoolText(pipe); return err },
		"default path": func() error { _, _, err := load("", pipe); return err },
	} {
		if err := load(); err == nil || err.Error() != pipe+": is a pipe, not a regular file; name a configuration with -c FILE" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
