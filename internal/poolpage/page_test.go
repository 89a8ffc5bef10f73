package poolpage

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/suite"
)

func render(t *testing.T, s *observe.Snapshot, refresh time.Duration) string {
	t.Helper()
	b, err := New().Render(s, refresh)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestPage_Golden: the page as it is; look at the difference, and at the screenshots of make page, before UPDATE_GOLDEN=1.
func TestPage_Golden(t *testing.T) {
	for name, s := range map[string]*observe.Snapshot{"busy": busy(), "troubled": troubled(), "young": young()} {
		suite.Golden(t, "testdata/"+name+".html", render(t, s, 0))
	}
}

// TestPolicy: the browser is told the style that is in the page, and no other; there is no script and nothing to load.
func TestPolicy(t *testing.T) {
	for name, s := range map[string]*observe.Snapshot{"busy": busy(), "troubled": troubled(), "young": young()} {
		page := render(t, s, 30*time.Second)
		_, rest, _ := strings.Cut(page, "<style>")
		style, _, found := strings.Cut(rest, "</style>")
		sum := sha256.Sum256([]byte(style))
		if want := "style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !found || !strings.Contains(Policy(), want) {
			t.Errorf("%s: the policy %s does not allow the style of the page", name, Policy())
		}
		for _, bad := range []string{"<script", "<link", "<img", "<iframe", "<form", "<base", " style=", " src=", "javascript:", "http://", "https://", "@import", "url("} {
			if strings.Contains(strings.ToLower(page), bad) {
				t.Errorf("%s: the page holds %q", name, bad)
			}
		}
	}
	if p := Policy(); !strings.HasPrefix(p, "default-src 'none'; ") || strings.Contains(p, "unsafe") {
		t.Errorf("policy %s", p)
	}
}

// TestPage_HostileNames: whatever a configuration or a time source calls itself is text, in every place.
func TestPage_HostileNames(t *testing.T) {
	for _, evil := range []string{
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `' onmouseover='alert(1)`, `</style><script>`, `{{.Name}}`, "a\u202eb\x00c\nd",
		`javascript:alert(1)`, `]]>--><svg onload=alert(1)>`, strings.Repeat("w", 4000),
	} {
		s := busy()
		p := s.Pool
		s.Program.Version, s.Program.BuildCommit, p.Address, p.Stage, p.Selection = evil, evil, evil, evil, evil
		p.Names, p.NotReady, p.Ready = []string{evil}, []string{evil}, false
		p.Outcomes[evil], p.Recent.Outcomes[evil], p.Algorithms[evil] = 1, 1, 1
		p.Monitor.Void, p.Monitor.Reference, p.Reload.Reason, p.Listener = evil, evil, evil, evil
		p.StageSeconds[evil] = durations(1, 1)
		for i := range p.Servers {
			m := &p.Servers[i]
			m.ID, m.Server, m.Operator, m.Dialect, m.LastError, m.Regions = evil, evil, evil, evil, evil, []string{evil}
			if m.Monitored != nil {
				for j := range m.Monitored.Views {
					v := &m.Monitored.Views[j]
					v.Reason, v.Outcome, v.Verdict = evil, evil, evil
				}
				m.Monitored.Algorithms = append(m.Monitored.Algorithms, observe.MonitorAlgorithm{Reason: evil})
			}
		}
		page := render(t, s, 0)
		tokens := html.NewTokenizer(strings.NewReader(page))
		for tokens.Next() != html.ErrorToken {
			tok := tokens.Token()
			if !slices.Contains(elements(), tok.Data) && (tok.Type == html.StartTagToken || tok.Type == html.SelfClosingTagToken) {
				t.Errorf("%.40q makes an element %s", evil, tok.Data)
			}
			for _, a := range tok.Attr {
				if strings.HasPrefix(a.Key, "on") || a.Key == "style" || strings.HasPrefix(a.Val, "javascript:") {
					t.Errorf("%.40q makes an attribute %s=%q", evil, a.Key, a.Val)
				}
			}
		}
		if err := tokens.Err(); !errors.Is(err, io.EOF) {
			t.Errorf("%.40q: %v", evil, err)
		}
	}
}

// elements are those that the page has.
func elements() []string {
	return strings.Fields(`html head meta title style body header main footer section div span p h1 h2 h3 a ul li dl dt dd table caption thead tbody tr th td
		small b s details summary svg circle path line polyline rect`)
}

// TestPage_Tree: what browsers and readers for the blind need: headings in order, labelled sections and pictures, headers with scope,
// links that lead somewhere, each id once.
func TestPage_Tree(t *testing.T) {
	for name, s := range map[string]*observe.Snapshot{"busy": busy(), "troubled": troubled(), "young": young()} {
		doc, err := html.Parse(strings.NewReader(render(t, s, 0)))
		if err != nil {
			t.Fatal(err)
		}
		ids, links, labels, level := map[string]int{}, []string{}, []string{}, 0
		for n := range doc.Descendants() {
			if n.Type != html.ElementNode {
				continue
			}
			attr := map[string]string{}
			for _, a := range n.Attr {
				attr[a.Key] = a.Val
			}
			if id, ok := attr["id"]; ok {
				ids[id]++
			}
			switch n.Data {
			case "h1", "h2", "h3":
				next := int(n.Data[1] - '0')
				if next > level+1 {
					t.Errorf("%s: h%d after h%d", name, next, level)
				}
				level = next
			case "section":
				labels = append(labels, attr["aria-labelledby"])
			case "svg":
				if attr["aria-hidden"] != "true" && (attr["role"] != "img" || attr["aria-label"] == "") {
					t.Errorf("%s: a picture without label", name)
				}
			case "th":
				if attr["scope"] == "" {
					t.Errorf("%s: a header without scope", name)
				}
			case "a":
				links = append(links, attr["href"])
			case "html":
				if attr["lang"] != "en" {
					t.Errorf("%s: no language", name)
				}
			}
		}
		for id, n := range ids {
			if n > 1 {
				t.Errorf("%s: the id %s %d times", name, id, n)
			}
		}
		for _, to := range links {
			if anchor, ok := strings.CutPrefix(to, "#"); ok && ids[anchor] == 0 {
				t.Errorf("%s: a link to %s, which is nowhere", name, to)
			}
		}
		for _, l := range labels {
			if ids[l] == 0 {
				t.Errorf("%s: a section labelled by %q", name, l)
			}
		}
	}
}

// TestContrast: text has 4.5 : 1 at least on both grounds, in both schemes and on paper (WCAG 2.2, 1.4.3).
func TestContrast(t *testing.T) {
	blocks := regexp.MustCompile(`(?s):root \{(.*?)\}`).FindAllStringSubmatch(styleText, -1)
	if len(blocks) != 3 {
		t.Fatalf("%d colour schemes", len(blocks))
	}
	for i, b := range blocks {
		colours := map[string]float64{}
		for _, m := range regexp.MustCompile(`--([a-z]+): #([0-9a-f]{6})`).FindAllStringSubmatch(b[1], -1) {
			colours[m[1]] = luminance(t, m[2])
		}
		for _, ink := range []string{"text", "soft", "link", "good", "notice", "bad", "neutral"} {
			for _, paper := range []string{"ground", "card"} {
				a, b := colours[ink], colours[paper]
				if r := (max(a, b) + 0.05) / (min(a, b) + 0.05); r < 4.5 {
					t.Errorf("scheme %d: %s on %s has %.2f : 1", i, ink, paper, r)
				}
			}
		}
	}
}

// luminance is that of WCAG 2.2 for six hexadecimal digits.
func luminance(t *testing.T, hex string) (l float64) {
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		n, err := strconv.ParseUint(hex[2*i:2*i+2], 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		c := float64(n) / 255
		if c <= 0.04045 {
			l += weight * c / 12.92
		} else {
			l += weight * math.Pow((c+0.055)/1.055, 2.4)
		}
	}
	return l
}

// TestPage_ManyTimeSources: the page has an end, whatever the list has.
func TestPage_ManyTimeSources(t *testing.T) {
	s := busy()
	one := s.Pool.Servers[0]
	s.Pool.Servers = nil
	for range 3 * maxRows {
		s.Pool.Servers = append(s.Pool.Servers, one)
	}
	page := render(t, s, 0)
	if n := strings.Count(page, "<details>"); n != maxRows || !strings.Contains(page, "1000 more are in") {
		t.Errorf("%d time sources", n)
	}
	if len(page) > 12<<20 {
		t.Errorf("%d bytes", len(page))
	}
}

func TestRefresh(t *testing.T) {
	for text, want := range map[string]time.Duration{"": 0, "30": 30 * time.Second, "5": 5 * time.Second, "4": 0, "3600": time.Hour, "3601": 0, "-30": 0, "x": 0,
		"9223372036854775807": 0, "30\"": 0} {
		if got := refreshOf(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
	if page := render(t, young(), 30*time.Second); !strings.Contains(page, `<meta http-equiv="refresh" content="30">`) {
		t.Error("no refresh")
	}
}
