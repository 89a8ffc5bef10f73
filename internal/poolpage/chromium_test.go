package poolpage

import (
	"context"
	"encoding/json"
	"fmt"
	"html"
	"image/color"
	"image/png"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"ntp-daemon/internal/observe"
)

// browser runs Chromium without a window, without network but for loopback, and without a past.
func browser(t *testing.T, args ...string) string {
	t.Helper()
	path := os.Getenv("NTPD_CHROMIUM")
	if path == "" {
		t.Skip("NTPD_CHROMIUM does not name a Chromium; make page does")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, append([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
		"--disable-sync", "--hide-scrollbars", "--force-device-scale-factor=1", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
		"--user-data-dir=" + t.TempDir(),
	}, args...)...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("chromium: %v", err)
	}
	return string(out)
}

// ruler is a page that loads others in frames of given widths and writes down what it finds. Only it has a script.
const ruler = `<!DOCTYPE html><body><pre id="found"></pre><script>
const found = []
let left = JOBS.length
for (const [name, width] of JOBS) {
	const f = document.createElement("iframe")
	f.style.cssText = "border:0;height:800px;width:" + width + "px"
	f.onload = () => {
		const d = f.contentDocument, page = d.documentElement
		const beyond = [...d.querySelectorAll("body *")].filter(e => !e.closest(".away, thead, caption, svg") && e.getClientRects().length &&
			e.getBoundingClientRect().right > page.clientWidth + 1).map(e => e.tagName + "." + e.className)
		found.push({name, width, inner: page.clientWidth, scroll: page.scrollWidth, height: page.scrollHeight, beyond, dark: f.contentWindow.matchMedia("(prefers-color-scheme: dark)").matches})
		if (--left == 0) document.getElementById("found").textContent = JSON.stringify(found)
	}
	f.src = name
	document.body.append(f)
}
</script></body>`

// measured is what the ruler found of one page.
type measured struct {
	Name                         string
	Width, Inner, Scroll, Height int
	Beyond                       []string // elements that reach beyond the right edge
	Dark                         bool
}

// widths are a telephone's and a desk's, and the two between which the table changes.
func widths() []int { return []int{390, 768, 1185, 1280} }

// TestPage_Chromium: in a real browser the page fits its window at every width, wears both colour schemes, runs under its own
// policy and asks for nothing else. The pictures are build/pool-status-WIDTH-SCHEME.png; look at them.
func TestPage_Chromium(t *testing.T) {
	pages := map[string]*observe.Snapshot{"busy": busy(), "troubled": troubled(), "young": young(), "long": long()}
	var mu sync.Mutex
	asked := map[string]int{}
	mux := http.NewServeMux()
	for name, s := range pages {
		mux.HandleFunc("/"+name, New().Handler(func() *observe.Snapshot { return s }))
		for path, details := range map[string]string{"/open/": "<details open>", "/shut/": "<details>"} { // without the policy, which forbids frames
			mux.HandleFunc(path+name, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/html; charset=utf-8")
				_, _ = w.Write([]byte(strings.ReplaceAll(render(t, s, 0), "<details>", details)))
			})
		}
	}
	mux.HandleFunc("/ruler", func(w http.ResponseWriter, _ *http.Request) {
		var jobs [][]any
		for name := range pages {
			for _, width := range widths() {
				jobs = append(jobs, []any{"/open/" + name, width}, []any{"/shut/" + name, width})
			}
		}
		text, _ := json.Marshal(jobs)
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, strings.ReplaceAll(ruler, "JOBS", string(text)))
	})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked[r.URL.Path]++
		mu.Unlock()
		mux.ServeHTTP(w, r)
	}))
	defer srv.Close()

	heights := measure(t, srv.URL, 2*len(pages)*len(widths()))
	mu.Lock()
	clear(asked)
	mu.Unlock()
	build := filepath.Join("..", "..", "build")
	if err := os.MkdirAll(build, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, shot := range []struct {
		page   string
		width  int
		dark   bool
		file   string
		ground color.RGBA
	}{
		{"busy", 390, false, "pool-status-390-light.png", color.RGBA{0xf6, 0xf7, 0xf9, 0xff}},
		{"busy", 390, true, "pool-status-390-dark.png", color.RGBA{0x11, 0x14, 0x17, 0xff}},
		{"busy", 1280, false, "pool-status-1280-light.png", color.RGBA{0xf6, 0xf7, 0xf9, 0xff}},
		{"busy", 1280, true, "pool-status-1280-dark.png", color.RGBA{0x11, 0x14, 0x17, 0xff}},
		{"troubled", 1280, false, "pool-status-troubled-1280-light.png", color.RGBA{0xf6, 0xf7, 0xf9, 0xff}},
		{"young", 390, true, "pool-status-young-390-dark.png", color.RGBA{0x11, 0x14, 0x17, 0xff}},
	} {
		file := filepath.Join(build, shot.file)
		args := []string{"--screenshot=" + file, fmt.Sprintf("--window-size=%d,%d", shot.width, heights[fmt.Sprint("/shut/", shot.page, shot.width)])}
		if shot.dark {
			args = append(args, "--blink-settings=preferredColorScheme=0")
		}
		browser(t, append(args, srv.URL+"/"+shot.page)...)
		picture(t, file, shot.width, shot.ground)
	}
	mu.Lock()
	defer mu.Unlock()
	for path := range asked {
		if _, known := pages[strings.TrimPrefix(path, "/")]; !known && path != "/favicon.ico" {
			t.Errorf("the page asked for %s", path)
		}
	}
}

// long is the busy pool with names as long as names can be, and numbers as large.
func long() *observe.Snapshot {
	s := busy()
	p := s.Pool
	for i := range p.Servers {
		m := &p.Servers[i]
		m.Server = strings.Repeat("n", 63) + "." + strings.Repeat("o", 63) + "." + strings.Repeat("p", 63) + "." + strings.Repeat("q", 57) + ":65535"
		m.ID, m.Operator, m.Weight = strings.Repeat("i", 64), strings.Repeat("o", 253), 1<<31
		m.RTT, m.Algorithms = 2.345, []uint16{15, 16, 17, 30, 31, 65535}
	}
	p.Names = []string{strings.Repeat("x", 250)}
	p.Reload.Reason = strings.Repeat("/very/long/path", 40)
	for name := range p.Outcomes {
		p.Outcomes[name], p.Recent.Outcomes[name] = 1<<62, 1<<50
	}
	return s
}

// measure has the ruler look at all pages, and returns their heights by name and width.
func measure(t *testing.T, url string, want int) map[string]int {
	t.Helper()
	dom := browser(t, "--virtual-time-budget=20000", "--dump-dom", "--window-size=1400,900", url+"/ruler")
	_, rest, _ := strings.Cut(dom, `<pre id="found">`)
	text, _, _ := strings.Cut(rest, "</pre>")
	var found []measured
	if err := json.Unmarshal([]byte(html.UnescapeString(text)), &found); err != nil || len(found) != want {
		t.Fatalf("%v, %d pages measured of %d: %.300s", err, len(found), want, text)
	}
	heights := map[string]int{}
	for _, m := range found {
		if m.Inner != m.Width || m.Scroll > m.Inner || len(m.Beyond) > 0 {
			t.Errorf("%s at %d: %d wide in %d, beyond the edge: %v", m.Name, m.Width, m.Scroll, m.Inner, m.Beyond)
		}
		heights[fmt.Sprint(m.Name, m.Width)] = m.Height
	}
	return heights
}

// picture holds a screenshot to its width and to the colour of the ground, which only the style under the policy can give it.
func picture(t *testing.T, file string, width int, ground color.RGBA) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := png.Decode(f)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	if w := img.Bounds().Dx(); w != width {
		t.Errorf("%s: %d wide, want %d", file, w, width)
	}
	if got := color.RGBAModel.Convert(img.At(1, 1)); got != ground {
		t.Errorf("%s: ground %v, want %v", file, got, ground)
	}
}
