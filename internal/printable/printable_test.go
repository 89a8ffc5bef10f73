package printable

import (
	"errors"
	"io"
	"strings"
	"testing"
)

func TestText(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", ""},
		{`tls: "ntske/1" is missing`, `tls: "ntske/1" is missing`},
		{"\n\x1b[31mevil", `"\n\x1b[31mevil"`},
		{"bücher.example", `"b\u00fccher.example"`},
		{strings.Repeat("x", 300), strings.Repeat("x", 300)},
		{strings.Repeat("x", 1000), `"` + strings.Repeat("x", 300) + `"`},
	} {
		if got := Text(tt.in); got != tt.want {
			t.Errorf("%q: got %s, want %s", tt.in, got, tt.want)
		}
	}
}

func TestLine(t *testing.T) {
	for in, want := range map[string]string{
		"Bücher = 1": "Bücher = 1", "a\x1b[2Jb\nc\u0085d\u2028e\xff": "a?[2Jb?c?d?e?", "": "",
	} {
		if got := Line(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestError(t *testing.T) {
	if Error(nil) != nil {
		t.Error("nil became an error")
	}
	err := Error(errors.Join(errors.New("\x07"), io.EOF))
	if err.Error() != `"\a\nEOF"` || !errors.Is(err, io.EOF) {
		t.Errorf("got %v", err)
	}
}
