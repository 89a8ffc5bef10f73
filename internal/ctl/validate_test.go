package ctl

import (
	"crypto"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ntp-daemon/internal/testca"
)

// root is the folder of the module, where configurations name their files from.
func inRoot(t *testing.T) {
	t.Helper()
	t.Chdir("../..")
}

func files(t *testing.T, pattern string) []string {
	t.Helper()
	list, err := filepath.Glob(pattern)
	if err != nil || len(list) == 0 {
		t.Fatalf("%s: %d files, %v", pattern, len(list), err)
	}
	return list
}

// The files that the suite ships load; those for real use only lack the operator's own certificates.
func TestValidate_ShippedConfigurations(t *testing.T) {
	inRoot(t)
	c := newConsole(t)
	for _, pattern := range []string{"configs/*.toml", "configs/demo/*.toml", "configs/seed/*.toml"} {
		for _, file := range files(t, pattern) {
			code := c.run("validate", "-c", file)
			if code == 0 || code == 1 {
				continue
			}
			for line := range strings.Lines(c.err.String()) {
				if !strings.Contains(line, "no such file or directory") && !strings.HasPrefix(line, "note: ") && !strings.HasPrefix(line, "warning: ") {
					t.Errorf("%s: exit %d: %s", file, code, line)
				}
			}
		}
	}
	for _, name := range []string{"pool", "client", "server"} { // build/demo is made by make demo
		text, err := os.ReadFile("configs/demo/" + name + ".toml")
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		file := writeFile(t, dir, name+".toml", strings.ReplaceAll(string(text), "build/demo", dir))
		c.expect(t, c.run("validate", "-c", file), 0, "", "Config looks good")
	}
}

func TestValidate_BadSamples(t *testing.T) {
	c := newConsole(t)
	const data = "../config/testdata/"
	for _, file := range files(t, data+"bad/*.toml") {
		if code := c.run("validate", "-c", file); code != 78 || !strings.Contains(c.err.String(), filepath.Base(file)) {
			t.Errorf("%s: exit %d, %q", file, code, c.err.String())
		}
	}
	for _, file := range files(t, data+"notbuilt/*.toml") {
		c.expect(t, c.run("validate", "-c", file), 78, "", "not built yet")
		if !strings.Contains(c.err.String(), "The configuration is valid") {
			t.Errorf("%s: %q", file, c.err.String())
		}
	}
}

// The samples of nts-pool-ke's configuration, in both formats, are judged as that program judges them.
func TestValidate_PoolSamples(t *testing.T) {
	t.Chdir("../config")
	c := newConsole(t)
	for _, file := range files(t, "testdata/bad-pool/*.toml") {
		if base := filepath.Base(file); base == "empty.toml" || base == "ntp-daemon-file.toml" {
			continue // as configurations of ntp-daemon they are good
		}
		if code := c.run("validate", "-c", file); code != 78 || strings.Contains(c.err.String(), "belongs to nts-pool-ke") {
			t.Errorf("%s: exit %d, %q", file, code, c.err.String())
		}
	}
	for _, file := range files(t, "testdata/good/*pool-ke.toml") {
		if code := c.run("validate", "-c", file); code != 0 && code != 1 {
			t.Errorf("%s: exit %d, %q", file, code, c.err.String())
		}
	}
	c.expect(t, c.run("validate", "-c", "testdata/bad-pool/list-half.toml"), 78, "", "bad-half.json:3:22: ends in the middle; correct the JSON")
	c.expect(t, c.run("validate", "--offline", "-c", "testdata/bad-pool/list-half.toml"), 0, "", "as far as its text goes")
}

// Warnings make exit code 1, as in ntpd-rs; notes do not.
func TestValidate_Warnings(t *testing.T) {
	c := newConsole(t)
	c.expect(t, c.run("validate", "-c", "../config/testdata/warn/F05-default-agreement.toml"), 1, "", "warning: ")
	if strings.Contains(c.err.String(), "looks good") {
		t.Error("praised in spite of a warning")
	}
	c.expect(t, c.run("validate", "-c", "../config/testdata/warn/no-sources.toml"), 0, "", "note: ")
}

func TestValidate_Certificates(t *testing.T) {
	inRoot(t)
	c := newConsole(t)
	dir := t.TempDir()
	conf := func(chain, key string) string {
		return writeFile(t, dir, "ke.toml", "[[server]]\nlisten = \"127.0.0.1:123\"\n[[nts-ke-server]]\nlisten = \"127.0.0.1:4460\"\n"+
			"certificate-chain-path = \""+chain+"\"\nprivate-key-path = \""+key+"\"\n")
	}
	garbage := writeFile(t, dir, "garbage.pem", "no PEM")
	c.expect(t, c.run("validate", "-c", conf("test-keys/end.fullchain.pem", "test-keys/end.key")), 0, "", "Config looks good")
	c.expect(t, c.run("validate", "-c", conf("test-keys/testca.pem", "test-keys/end.key")), 78, "", "private-key-path")
	c.expect(t, c.run("validate", "-c", conf(garbage, "test-keys/end.key")), 78, "", "holds no certificate")
	c.expect(t, c.run("validate", "-c", conf("test-keys/end.fullchain.pem", dir+"/none")), 78, "", dir+"/none")
}

// No colours, whatever happens (ntpd-rs writes them into pipes).
func TestValidate_NoColours(t *testing.T) {
	c := newConsole(t)
	c.Colour = true
	c.run("validate", "-c", "../config/testdata/bad/F01-several-at-once.toml")
	if strings.Contains(c.err.String()+c.out.String(), "\x1b") {
		t.Error("colour codes")
	}
}

func TestF04_WorkingDirectoryIsNotSearched(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	writeFile(t, dir, "ntp.toml", "this is no configuration")
	if _, err := os.Stat("/etc/ntp-daemon/ntp.toml"); err == nil {
		t.Skip("this host has a configuration of its own")
	}
	c := newConsole(t)
	if code := c.run("validate"); code == 78 {
		t.Errorf("./ntp.toml was read: %q", c.err.String())
	}
}

// With --offline the files that a configuration names may be anywhere, and what its text says is checked all the same.
func TestValidate_Offline(t *testing.T) {
	c, dir := newConsole(t), t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const absent = "certificate-chain-path = \"/nowhere/chain.pem\"\nprivate-key-path = \"/nowhere/key.pem\"\n"
	daemon := file("ntp.toml", "[[nts-ke-server]]\nlisten = \"127.0.0.1:4460\"\nauthorized-pool-server-certificates = [\"/nowhere/pool.pem\"]\n"+absent+
		"[[server]]\nlisten = \"127.0.0.1:123\"\n")
	pool := file("pool.toml", "[nts-pool-ke-server]\nlisten = \"127.0.0.1:4460\"\n"+
		"certificate-authority-path = \"/nowhere/ca.pem\"\nkey-exchange-servers = [{ domain = \"ntp.example.org\", port = 4460 }]\n"+absent)
	for _, path := range []string{daemon, pool} {
		c.expect(t, c.run("validate", "-c", path), 78, "", "/nowhere/")
		c.expect(t, c.run("validate", "-c", path, "--offline"), 0, "", "as far as its text goes")
	}
	c.expect(t, c.run("validate", "--offline", "-c", file("bad.toml", "[[server]]\nlisten = \"nowhere\"\n")), 78, "", "bad.toml")
	c.expect(t, c.run("validate", "--offline", "-c", filepath.Join(dir, "absent.toml")), 78, "", "absent.toml")
}

// What keeps a part of the daemon down is found beforehand: an expired certificate, which clients refuse, is 78, a socket that
// waits for its folder a warning, and each line says what runs all the same.
func TestValidate_Machine(t *testing.T) {
	c, dir, ca := newConsole(t), t.TempDir(), testca.New(t)
	leaf := ca.Leaf("localhost")
	chain, key := testca.Files(t, ca.Custom(leaf.PrivateKey.(crypto.Signer), func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-48*time.Hour), time.Now().Add(-time.Hour)
	}, "localhost"))
	ke := "[[server]]\nlisten = \"127.0.0.1:123\"\n[[nts-ke-server]]\nlisten = \"127.0.0.1:4460\"\ncertificate-chain-path = \"" +
		writeFile(t, dir, "chain.pem", string(chain)) + "\"\nprivate-key-path = \"" + writeFile(t, dir, "key.pem", string(key)) + "\"\n"
	c.expect(t, c.run("validate", "-c", writeFile(t, dir, "expired.toml", ke)), 78, "", "certificate expired on ")
	if said := c.err.String(); !strings.Contains(said, "(runs: the others; that key exchange server is down)") {
		t.Errorf("%q", said)
	}
	socket := "[observability]\nobservation-path = \"" + dir + "/no/such/observe\"\n"
	c.expect(t, c.run("validate", "-c", writeFile(t, dir, "socket.toml", socket)), 1, "", "the folder "+dir+"/no/such is absent")
	c.expect(t, c.run("validate", "--offline", "-c", writeFile(t, dir, "socket.toml", socket)), 0, "", "as far as its text goes")
}
