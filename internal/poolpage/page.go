package poolpage

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"time"

	"ntp-daemon/internal/observe"
)

//go:embed page.html
var pageText string

//go:embed page.css
var styleText string

// maxRows is how many time sources the page shows; /status has all of them.
const maxRows = 500

// Policy is the Content-Security-Policy of the page: its own style and nothing else, whatever gets past the escaping.
func Policy() string {
	sum := sha256.Sum256([]byte(styleText))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}

// Page makes status pages. Make it with New.
type Page struct{ template *template.Template }

// New reads the template, which a test has proven.
func New() *Page {
	return &Page{template.Must(template.New("page").Parse(pageText))}
}

// Render is the page for a snapshot of a pool. refresh makes browsers load it again after so long; 0: they do not.
func (p *Page) Render(s *observe.Snapshot, refresh time.Duration) ([]byte, error) {
	var b bytes.Buffer
	d := document{view: viewOf(s), Style: template.CSS(styleText), Refresh: int(refresh / time.Second)}
	if err := p.template.Execute(&b, d); err != nil {
		return nil, fmt.Errorf("render the status page: %w", err)
	}
	return b.Bytes(), nil
}

// document is what the template sees.
type document struct {
	view
	Style   template.CSS
	Refresh int // seconds
}
