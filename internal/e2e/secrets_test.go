package e2e_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/suite"
)

// secrets are byte strings that must not appear anywhere, in any spelling.
type secrets struct {
	needles map[string]string // spelling → what it is
}

// window is how many bytes of a secret make a find: enough never to be met by chance.
const window = 12

// add spells out every window of a secret: raw, hexadecimal, base64 in its three alignments, and as fmt prints
// slices of bytes.
func (s *secrets) add(what string, secret []byte) {
	if s.needles == nil {
		s.needles = map[string]string{}
	}
	for at := 0; at+window <= len(secret); at++ {
		w := secret[at : at+window]
		dec, list, gosyntax := make([]string, window), make([]string, window), make([]string, window)
		for i, b := range w {
			dec[i], list[i], gosyntax[i] = fmt.Sprint(b), fmt.Sprint(b), fmt.Sprintf("%#x", b)
		}
		h := hex.EncodeToString(w)
		for _, spelling := range []string{
			string(w), h, strings.ToUpper(h), fmt.Sprintf("% x", w), strings.ReplaceAll(fmt.Sprintf("% x", w), " ", ":"),
			base64.StdEncoding.EncodeToString(w), base64.URLEncoding.EncodeToString(w), // whole quanta: no padding
			strings.Join(dec, " "), strings.Join(list, ","), strings.Join(list, ", "), strings.Join(gosyntax, ", "),
		} {
			s.needles[spelling] = what
		}
		q := fmt.Sprintf("%q", w)
		s.needles[q[1:len(q)-1]] = what
		if j, err := json.Marshal(string(w)); err == nil && !strings.Contains(string(j), `\ufffd`) {
			s.needles[string(j[1:len(j)-1])] = what
		}
	}
}

// find returns what is betrayed in the text. All needles have at least window bytes, so the text is cut into an
// index of those.
func (s *secrets) find(text string) []string {
	index := map[string][]string{}
	for needle := range s.needles {
		index[needle[:window]] = append(index[needle[:window]], needle)
	}
	found := map[string]bool{}
	for at := 0; at+window <= len(text); at++ {
		for _, needle := range index[text[at:at+window]] {
			if strings.HasPrefix(text[at:], needle) {
				found[s.needles[needle]] = true
			}
		}
	}
	var list []string
	for what := range found {
		list = append(list, what)
	}
	return list
}

// TestSecrets_Detector: the detector finds every spelling, at every place in a longer secret.
func TestSecrets_Detector(t *testing.T) {
	secret := make([]byte, 40)
	for i := range secret {
		secret[i] = byte(i*37 + 200)
	}
	var s secrets
	s.add("it", secret)
	part := secret[7:25]
	framed := append([]byte{1, 2}, part...)
	for _, text := range []string{
		string(part), hex.EncodeToString(framed), fmt.Sprintf("%X", part), fmt.Sprintf("% x", part), fmt.Sprintf("%v", framed),
		fmt.Sprintf("%#v", part), fmt.Sprintf("%q", part), base64.StdEncoding.EncodeToString(part),
		base64.StdEncoding.EncodeToString(framed), base64.RawURLEncoding.EncodeToString(append([]byte{1}, part...)),
		fmt.Sprint([]any{"x", part}),
	} {
		if s.find("log line with "+text+" in it") == nil {
			t.Errorf("not found in %q", text)
		}
	}
	if got := s.find(strings.Repeat("nothing to see here 123456789 ", 100)); got != nil {
		t.Errorf("found %v", got)
	}
}

// TestKC16_P16_NoSecretsAnywhere runs server, pool and two clients with everything logged, rotates the cookie keys
// under them, collects the real secrets and looks for them in all that the programs say: logs, snapshots, metrics.
func TestKC16_P16_NoSecretsAnywhere(t *testing.T) {
	t.Parallel()
	s := newTestHost(t)
	keyFile := filepath.Join(s.dir, "keys")
	srv := s.start("server", server("server", "[keyset]\nkey-rotation-interval = 1\nstale-key-count = 20\nkey-storage-path = \""+keyFile+"\""), "-l", "trace")
	s.up(srv)
	wire := sniff(t, s.Namespace, "lo")
	front := s.start("pool", poolFront, "-l", "trace")
	front.WaitLog(`listening on`)
	viaPool := s.start("viapool", client("viapool", "nts-pool", "localhost:4460"), "-l", "trace")
	direct := s.start("direct", client("direct", "nts", "localhost:8080"), "-l", "trace")

	var hidden secrets
	hidden.add("pool token", []byte(poolToken))
	for _, f := range []string{"end.key", "testca.key"} {
		pem, err := os.ReadFile(filepath.Join(suite.Root(), "test-keys", f))
		if err != nil {
			t.Fatal(err)
		}
		hidden.add("private key "+f, pem[40:len(pem)-40])
	}
	said := map[string]string{}
	var sets []*nts.KeySet
	for range 16 { // four rotations of the cookie keys
		time.Sleep(250 * time.Millisecond)
		if b, err := os.ReadFile(keyFile); err == nil {
			set, _, err := nts.UnmarshalKeySet(b, time.Now(), 20)
			if err != nil {
				t.Fatal(err)
			}
			sets = append(sets, set)
			hidden.add("cookie key file", b[28:len(b)-32])
		}
		for _, name := range []string{"server", "viapool", "direct"} {
			if o := suite.Snapshot(s.socket(name)); o != nil {
				b, _ := json.Marshal(o)
				said["snapshot of "+name] += string(b)
			}
		}
	}
	s.up(viaPool)
	s.up(direct)
	cookies, keys := wireSecrets(&hidden, wire.end(), sets)
	if cookies < 6 || keys < 2 {
		t.Fatalf("only %d cookies and %d key pairs seen on the wire", cookies, keys)
	}
	for _, name := range []string{"server", "viapool", "direct"} {
		for _, args := range [][]string{
			{"status"}, {"status", "--format", "json"}, {"status", "--format", "prometheus"}, {"validate"},
		} {
			said[fmt.Sprintf("ntp-ctl %v of %s", args, name)] = control(t, s, name, args)
		}
	}
	said["ntp-ctl validate of pool"] = control(t, s, "pool", []string{"validate"})
	said["metrics"] = metrics(t, s, "server")
	for _, p := range []*suite.Proc{srv, front, viaPool, direct} {
		said["log of "+p.Name] = p.Log()
		calm(t, p)
	}
	t.Logf("%d cookies, %d key pairs, %d spellings, %d texts", cookies, keys, len(hidden.needles), len(said))
	total := map[string]bool{}
	for where, text := range said {
		if text == "" {
			t.Errorf("%s is empty", where)
		}
		for _, what := range hidden.find(text) {
			total[what] = true
			t.Errorf("%s betrays: %s", where, what)
		}
	}
	for _, row := range []string{"KC16 logs at trace level", "P16 tokens and keys in logs, snapshots, metrics"} {
		t.Run(row, func(t *testing.T) {
			if len(total) > 0 {
				t.Error("see above")
			}
		})
	}
}

// wireSecrets adds the cookies of all requests and the keys inside them.
func wireSecrets(hidden *secrets, packets []datagram, sets []*nts.KeySet) (cookies, keys int) {
	sealer := nts.NewSealer()
	known := map[string]bool{}
	for _, d := range packets {
		var f ntp.Fields
		if d.to.Port() != 123 || len(d.payload) < ntp.HeaderLen || f.Trailer(d.payload, 4) != nil {
			continue
		}
		for _, field := range f.All() {
			if field.Type != ntp.FieldCookie {
				continue
			}
			cookies++
			hidden.add("cookie", field.Value)
			for _, set := range sets {
				var k nts.Keys
				if sealer.Open(set, field.Value, &k) && !known[string(k.C2S)] {
					known[string(k.C2S)] = true
					keys++
					hidden.add("C2S key", k.C2S)
					hidden.add("S2C key", k.S2C)
				}
			}
		}
	}
	return cookies, keys
}

// control runs ntp-ctl with the configuration of that name. Warnings of validate, exit code 1, are fine.
func control(t *testing.T, s *testHost, name string, args []string) string {
	t.Helper()
	args = append([]string{"-c", filepath.Join(s.dir, name+".toml")}, args...)
	out, err := exec.Command(suite.Program(t, "ntp-ctl"), args...).CombinedOutput()
	if e, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || e.ExitCode() != 1) {
		t.Errorf("ntp-ctl %v: %v: %s", args, err, out)
	}
	return string(out)
}

// metrics is what the exporter says of the daemon of that name, and its log.
func metrics(t *testing.T, s *testHost, name string) string {
	t.Helper()
	p := s.Start(suite.Program(t, "ntp-metrics-exporter"), "-c", filepath.Join(s.dir, name+".toml"))
	var page []byte
	p.Until("metrics", func() bool {
		var c net.Conn
		inside(t, s.Namespace, func() error {
			c, _ = net.DialTimeout("tcp4", "127.0.0.1:9975", time.Second)
			return nil
		})
		if c == nil {
			return false
		}
		defer c.Close()
		_, _ = c.Write([]byte("GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
		page, _ = io.ReadAll(c)
		return strings.Contains(string(page), "ntp_uptime_seconds")
	})
	return string(page) + p.Log()
}
