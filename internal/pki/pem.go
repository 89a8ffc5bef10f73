package pki

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
)

// Fault is what is wrong in a file.
type Fault struct {
	Line   int    // from 1; 0 when it is about the file as a whole
	What   string // lower case, without full stop
	Remedy string // what to do about it
}

// Error is "line N: what; remedy".
func (f *Fault) Error() string { return f.Says() + "; " + f.Remedy }

// Says is the fault without its remedy.
func (f *Fault) Says() string {
	if f.Line > 0 {
		return fmt.Sprintf("line %d: %s", f.Line, f.What)
	}
	return f.What
}

// block is one PEM block (RFC 7468).
type block struct {
	line      int // of its BEGIN
	label     string
	encrypted bool // by a header of RFC 1421, as OpenSSL writes old keys
	der       []byte
}

const (
	begin = "-----BEGIN "
	end   = "-----END "
	fence = "-----"
)

// mostFaults bounds what is said about a file that is something else.
const mostFaults = 10

// pemReader walks over the lines of a file.
type pemReader struct {
	blocks []block
	faults []Fault
	open   *block // between BEGIN and END
	text   strings.Builder
	spoilt bool // the open block has a fault already
}

// readPEM returns the blocks of a file and a fault for each BEGIN that yields none. Text outside of blocks, blanks around
// lines, a byte order mark and the line ends of other systems are accepted. encoding/pem steps over a block that it cannot
// read, and a chain without its issuer or a bundle without its root then fails far away from here.
func readPEM(data []byte) ([]block, []Fault) {
	if f := foreign(data); f != nil {
		return nil, []Fault{*f}
	}
	var r pemReader
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	text := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(data))
	number := 0
	for line := range strings.Lines(text) {
		number++
		r.line(number, strings.TrimSpace(line))
	}
	r.unfinished()
	return r.blocks, r.faults
}

// foreign tells the two forms apart that are often taken for PEM.
func foreign(data []byte) *Fault {
	switch {
	case bytes.HasPrefix(data, []byte("\xff\xfe")), bytes.HasPrefix(data, []byte("\xfe\xff")):
		return &Fault{What: "is UTF-16 text", Remedy: "save it as UTF-8 or ASCII"}
	case len(data) > 1 && data[0] == 0x30 && data[1] >= 0x80 && !bytes.Contains(data, []byte(begin)):
		return &Fault{What: "is in DER form", Remedy: "convert it to PEM, as with openssl x509 -inform der -in FILE -out FILE.pem"}
	}
	return nil
}

func (r *pemReader) fault(line int, what, remedy string) {
	if len(r.faults) < mostFaults {
		r.faults = append(r.faults, Fault{line, what, remedy})
	}
	r.spoilt = true
}

func (r *pemReader) line(number int, s string) {
	switch at := strings.Index(s, begin); {
	case strings.HasPrefix(s, end):
		r.end(number, s)
	case at >= 0 && r.open == nil && strings.HasPrefix(s, "#"): // a comment that speaks of blocks
	case at >= 0:
		r.unfinished()
		if at > 0 {
			r.fault(number, "BEGIN stands in the middle of the line", "begin a new line before it")
			return
		}
		r.begin(number, s)
	case r.open != nil:
		r.content(number, s)
	}
}

func (r *pemReader) begin(number int, s string) {
	label, tail, closed := strings.Cut(strings.TrimPrefix(s, begin), fence)
	r.open, r.spoilt = &block{line: number, label: label}, false
	r.text.Reset()
	if !closed || tail != "" || label == "" {
		r.fault(number, "the BEGIN line is damaged", "copy the file again")
	}
}

func (r *pemReader) content(number int, s string) {
	switch {
	case r.spoilt || s == "":
	case strings.Contains(s, ":") && r.text.Len() == 0: // a header of RFC 1421
		r.open.encrypted = r.open.encrypted || strings.HasPrefix(s, "Proc-Type:") && strings.HasSuffix(s, "ENCRYPTED")
	default:
		for _, c := range s {
			if !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=", c) {
				r.fault(number, fmt.Sprintf("damaged: it is inside the %s that begins in line %d and is no base64", r.open.label, r.open.line), "copy the file again")
				return
			}
		}
		r.text.WriteString(s)
	}
}

// end closes a block. What follows on its line is text, unless it is the next block.
func (r *pemReader) end(number int, s string) {
	label, tail, closed := strings.Cut(strings.TrimPrefix(s, end), fence)
	switch {
	case r.open == nil:
		r.fault(number, "END without a BEGIN line before it", "copy the file again")
	case !closed || label != r.open.label:
		r.fault(number, fmt.Sprintf("this is not the end of the %s that begins in line %d", r.open.label, r.open.line), "copy the file again")
	default:
		r.finish()
	}
	r.open = nil
	if at := strings.Index(tail, begin); at >= 0 {
		r.fault(number, "END and BEGIN share a line", "begin a new line between them")
		r.begin(number, tail[at:])
		r.spoilt = true // its fault is told already
	}
}

func (r *pemReader) finish() {
	if r.spoilt {
		return
	}
	der, err := base64.StdEncoding.DecodeString(r.text.String())
	if err != nil || len(der) == 0 {
		r.fault(r.open.line, fmt.Sprintf("the %s that begins here is damaged", r.open.label), "copy the file again")
		return
	}
	r.open.der = der
	r.blocks = append(r.blocks, *r.open)
}

// unfinished reports a block that is still open when the next one begins or the file ends.
func (r *pemReader) unfinished() {
	if r.open != nil && !r.spoilt {
		r.fault(r.open.line, fmt.Sprintf("the %s that begins here has no END line", r.open.label), "copy the file again, to its last line")
	}
	r.open = nil
}
