package config

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestListens_Once: no two sections of a file get one address. On UDP the closest address wins, so that only the same one is
// refused; a TCP listener on all addresses has those of the others, too.
func TestListens_Once(t *testing.T) {
	section := map[string]string{
		"server": "[[server]]\nlisten = %q\n", "exporter": "[observability]\nmetrics-exporter-listen = %q\n",
		"ke": "[[nts-ke-server]]\ncertificate-chain-path = \"c\"\nprivate-key-path = \"k\"\nntp-server = \"a.example\"\nlisten = %q\n",
	}
	for _, tt := range []struct {
		first, at, second, also string
		want                    string // empty: both may be
	}{
		{"server", "127.0.0.1:123", "server", "127.0.0.1:123", "server.listen: 127.0.0.1:123 is used in line 2 too"},
		{"server", "0.0.0.0:123", "server", "127.0.0.1:123", ""},
		{"server", "0.0.0.0:123", "server", "[::]:123", ""},
		{"server", "127.0.0.1:123", "server", "[::ffff:127.0.0.1]:123", "is part of 127.0.0.1:123 in line 2"},
		{"server", "127.0.0.1:4460", "ke", "127.0.0.1:4460", ""},
		{"ke", "127.0.0.1:4460", "ke", "127.0.0.1:4461", ""},
		{"ke", "127.0.0.1:4460", "ke", "127.0.0.2:4460", ""},
		{"ke", "127.0.0.1:4460", "ke", "127.0.0.1:4460", "nts-ke-server.listen: 127.0.0.1:4460 is used in line 5 too"},
		{"ke", "[::]:4460", "ke", "127.0.0.1:4460", "127.0.0.1:4460 is part of [::]:4460 in line 5"},
		{"ke", "[::]:4460", "ke", "0.0.0.0:4460", "0.0.0.0:4460 holds [::]:4460 of line 5"},
		{"ke", "0.0.0.0:4460", "ke", "192.0.2.1:4460", "192.0.2.1:4460 is part of 0.0.0.0:4460 in line 5"},
		{"ke", "0.0.0.0:4460", "ke", "[2001:db8::1]:4460", ""},
		{"ke", "192.0.2.1:4460", "ke", "[::]:4460", "[::]:4460 holds 192.0.2.1:4460 of line 5"},
		{"exporter", "127.0.0.1:4460", "ke", "[::]:4460", "nts-ke-server.listen: [::]:4460 holds 127.0.0.1:4460 of line 2"},
	} {
		text := strings.Replace(section[tt.first], "%q", `"`+tt.at+`"`, 1) + strings.Replace(section[tt.second], "%q", `"`+tt.also+`"`, 1)
		_, _, err := Parse("t.toml", []byte(text))
		got := ""
		if err != nil {
			got = err.Error()
		}
		if (tt.want == "") != (got == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s %s and %s %s: %q, want %q", tt.first, tt.at, tt.second, tt.also, got, tt.want)
		}
	}
}

// TestExamine_Machine: what is about this machine is found by Examine, in the order of the file, never by Parse.
func TestExamine_Machine(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "file"), "")
	write(t, filepath.Join(dir, "resolv.conf"), "nameserver 192.0.2.53\n")
	m := Machine{Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("fe80::1")}, Resolvers: filepath.Join(dir, "resolv.conf")}
	const srv = "[[source]]\nmode = \"nts-pool\"\naddress = \"pool.example\"\nenable-srv-resolution = true\n"
	for _, tt := range []struct {
		text  string
		check CheckID
		want  string // empty: nothing
	}{
		{"[[server]]\nlisten = \"192.0.2.1:123\"", 0, ""},
		{"[[server]]\nlisten = \"[fe80::1%eth0]:123\"", 0, ""},
		{"[[server]]\nlisten = \"[::]:123\"", 0, ""},
		{"[[server]]\nlisten = \"127.0.0.9:123\"", 0, ""},
		{"[[server]]\nlisten = \"192.0.2.2:123\"", CheckListenAbsent, "t.toml:2:10: server.listen: no interface has the address 192.0.2.2; "},
		{"[observability]\nobservation-path = \"" + dir + "/s\"", 0, ""},
		{"[observability]\nobservation-path = \"" + dir + "/new/s\"", 0, ""}, // is made
		{"[observability]\nobservation-path = \"" + dir + "/no/new/s\"", CheckSocketFolder, "the folder " + dir + "/no/new is absent; make the folder"},
		{"[observability]\nobservation-path = \"" + dir + "/file/s\"", CheckSocketFolder, dir + "/file is not a folder; "},
		{srv, CheckResolver, "t.toml:4:25: source.enable-srv-resolution: no name server of the system is on this host"},
		{srv + "srv-resolvers = [\"192.0.2.53\"]", 0, ""},
		{strings.Replace(srv, "true", "false", 1), 0, ""},
		{"[observability]\nlog-path = \"" + dir + "/log\"", 0, ""},
		{"[observability]\nlog-path = \"" + dir + "\"", CheckLogFile, dir + " is a directory; name a file"},
		{"[observability]\nlog-path = \"" + dir + "/new/log\"", CheckLogFile, "the folder " + dir + "/new is absent"},
		{"[state]\ndirectory = \"" + dir + "\"", 0, ""},
		{"[state]\ndirectory = \"" + dir + "/new\"", CheckStateFolder, "t.toml:2:13: state.directory: the folder " + dir + "/new is absent; make the folder, and give it"},
		{"[state]\ndirectory = \"" + dir + "/file\"", CheckStateFolder, dir + "/file is not a folder"},
		{"[keyset]\nkey-storage-path = \"" + dir + "/keys\"", 0, ""},
		{"[keyset]\nkey-storage-path = \"" + dir + "/new/keys\"", CheckStateFolder, "t.toml:2:20: keyset.key-storage-path: the folder " + dir + "/new is absent"},
	} {
		cfg, _, err := Parse("t.toml", []byte(tt.text))
		if err != nil {
			t.Fatal(err)
		}
		found := cfg.Examine(m)
		if got := verdict(found, nil); (tt.want == "") != (len(found) == 0) || !strings.Contains(got, tt.want) || len(found) == 1 && (found[0].Check != tt.check || found[0].Info) {
			t.Errorf("%s: %q, want %q", tt.text, got, tt.want)
		}
	}
	long := "/" + strings.Repeat("x", longestSocket)
	if _, _, err := Parse("t.toml", []byte("[observability]\nobservation-path = \""+long+"\"")); err == nil || !strings.Contains(err.Error(), "is a path of 108 bytes, a socket can have 107") {
		t.Errorf("%v", err)
	}
	parseOK(t, "[observability]\nobservation-path = \""+long[:longestSocket]+"\"")
	if _, _, err := Parse("t.toml", []byte("[observability]\nobservation-path = \"/s\"\n[process]\nxdp-path = \"/s\"")); err == nil || err.Error() != "t.toml:4:12: process.xdp-path: is that of observation-path; choose another one" {
		t.Errorf("one path for two sockets: %v", err)
	}
	p, _, err := ParsePool("t.toml", append(selectionFile(false, "", ""), "[monitor]\nstate-path = \""+dir+"/new/scores.json\"\n"...))
	if err != nil {
		t.Fatal(err)
	}
	found := slices.DeleteFunc(p.Examine(Machine{}), func(w Warning) bool { return w.Check != CheckStateFolder })
	if len(found) != 1 || !strings.Contains(found[0].String(), "monitor.state-path: the folder "+dir+"/new is absent") {
		t.Errorf("%v", found)
	}
}

// TestExamine_CertificateTime: expired certificates keep a server down, those that end soon are told, by the time that is
// passed in.
func TestExamine_CertificateTime(t *testing.T) {
	cfg, _, err := Load("testdata/good/1.7.toml")
	if err != nil {
		t.Fatal(err)
	}
	end := time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	for _, tt := range []struct {
		now   time.Time
		check CheckID
		want  string
	}{
		{end.AddDate(0, 0, -15), 0, ""},
		{end.AddDate(0, 0, -13), CheckCertificateTime, "certificate expires on 9999-12-31; renew it"},
		{time.Date(1998, 1, 1, 0, 0, 0, 0, time.UTC), CheckCertificateTime, "is not valid before 1999-01-01"},
		{end.Add(time.Second), CheckCertificate, "certificate expired on 9999-12-31; renew it"},
	} {
		got := Warning{}
		for _, w := range cfg.Examine(Machine{Now: tt.now}) {
			if w.Check == CheckCertificate || w.Check == CheckCertificateTime {
				got = w
			}
		}
		if got.Check != tt.check || !strings.Contains(got.What+"; "+got.Remedy, tt.want) {
			t.Errorf("%v: %v, want %q", tt.now, got, tt.want)
		}
	}
}

// TestSystemCertificates: without the system's roots there must be others; [source-defaults] hold for all, and equal sets
// are read once.
func TestSystemCertificates(t *testing.T) {
	const nts, pinned = "[[source]]\nmode = \"nts\"\naddress = \"a.example\"\n", "[source-defaults]\ncertificate-authority = \"../../test-keys/testca.pem\"\nsystem-certificates = false\n"
	for _, text := range []string{nts + "system-certificates = false\n", "[source-defaults]\nsystem-certificates = false\n"} {
		_, _, err := Parse("t.toml", []byte(text))
		if err == nil || !strings.Contains(err.Error(), "system-certificates: is false and there is no certificate-authority, so nobody would be believed; write certificate-authority") {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, _, err := Parse("t.toml", []byte("[[source]]\nmode = \"server\"\naddress = \"a.example\"\nsystem-certificates = false\n")); err == nil || !strings.Contains(err.Error(), `no key of mode "server"`) {
		t.Error(err)
	}
	cfg := parseOK(t, pinned+nts+nts+nts+"system-certificates = true\n")
	counts := [3]int{}
	t.Setenv("SSL_CERT_FILE", "../../test-keys/end.pem")
	t.Setenv("SSL_CERT_DIR", t.TempDir())
	for i, s := range cfg.Sources {
		pool, err := s.Roots.Pool(time.Now())
		if err != nil {
			t.Fatal(err)
		}
		//lint:ignore SA1019 the roots are those of the two files, never the system's own
		counts[i] = len(pool.Subjects())
	}
	if cfg.Sources[0].Roots != cfg.Sources[1].Roots || counts != [3]int{1, 1, 2} {
		t.Errorf("roots of the three sources: %v", counts)
	}
}

// TestTokens_Seen: short tokens, token files and configurations with tokens that others can read are mentioned, tokens
// never shown.
func TestTokens_Seen(t *testing.T) {
	dir := t.TempDir()
	tokens, path := filepath.Join(dir, "tokens"), filepath.Join(dir, "pool-ke.toml")
	entry := func(more string) {
		write(t, path, "[nts-pool-ke-server]\nlisten = \"127.0.0.1:4460\"\ncertificate-chain-path = \"../../test-keys/end.fullchain.pem\"\n"+
			"private-key-path = \"../../test-keys/end.key\"\nkey-exchange-servers = [{ domain = \"a.example\", port = 4460, "+more+" }]\n")
	}
	for _, tt := range []struct {
		name, more, file string
		mode             os.FileMode // of both files
		want             string      // empty: nothing
	}{
		{"long", `tokens = ["0123456789abcdef"]`, "", 0o600, ""},
		{"short", `tokens = ["0123456789abcde"]`, "", 0o600, "warning: PATH:5:72: nts-pool-ke-server.key-exchange-servers.tokens: holds a token of 15 characters"},
		{"short in a file", `token-file = "` + tokens + `"`, "\xef\xbb\xbf# of November\n\n0123456789abcde\r\n", 0o600, tokens + ": line 3 holds a token of 15 characters"},
		{"readable file", `token-file = "` + tokens + `"`, "0123456789abcdef\n", 0o644, "warning: PATH:5:75: nts-pool-ke-server.key-exchange-servers.token-file: " + tokens + ": its tokens are readable by everybody; chmod 600 " + tokens},
		{"writable file", `token-file = "` + tokens + `"`, "0123456789abcdef\n", 0o602, tokens + " is writable by everybody"},
		{"readable configuration", `tokens = ["0123456789abcdef", "0123456789abcdef0"]`, "", 0o644, "note: PATH:5:62: nts-pool-ke-server.key-exchange-servers.tokens: everybody can read this file and its tokens; chmod o-r PATH"},
		{"a key", `token-file = "` + tokens + `"`, "-----BEGIN PRIVATE KEY-----\n0123456789abcdef\n", 0o600, tokens + ": line 1 begins a PEM block, which is no token"},
		{"longer than pools send", `tokens = ["` + strings.Repeat("x", 257) + `"]`, "", 0o600, "tokens: holds a token of more than 256 bytes"},
		{"a file of such", `token-file = "` + tokens + `"`, strings.Repeat("x", 257), 0o600, tokens + ": line 1 holds a token of more than 256 bytes"},
		{"only comments", `token-file = "` + tokens + `"`, "# none\n", 0o600, tokens + " holds no token"},
	} {
		entry(tt.more)
		write(t, tokens, tt.file)
		for _, f := range []string{path, tokens} {
			if err := os.Chmod(f, tt.mode); err != nil {
				t.Fatal(err)
			}
		}
		_, warnings, err := whole(path)
		got := ""
		for line := range strings.Lines(verdict(warnings, err)) {
			if !strings.Contains(line, "end.key is readable") && !strings.Contains(line, "everybody may write it") {
				got += line
			}
		}
		want := strings.ReplaceAll(tt.want, "PATH", path)
		if (want == "") != (got == "") || !strings.Contains(got, want) || strings.Count(got, "\n") > 1 || strings.Contains(got, "0123456789") {
			t.Errorf("%s: %q, want %q", tt.name, got, want)
		}
	}
}
