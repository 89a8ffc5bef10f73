package secret

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
	"github.com/rs/zerolog"
)

const plain = "Geheimnis"

// traces are the forms in which the bytes could show.
var traces = []string{plain, hex.EncodeToString([]byte(plain)), strings.ToUpper(hex.EncodeToString([]byte(plain))),
	base64.StdEncoding.EncodeToString([]byte(plain)), "71 101 104", "71,101,104", "0x47", "1000111", "U+0047", "'G'"}

func clean(t *testing.T, how, text string) {
	t.Helper()
	for _, trace := range traces {
		if strings.Contains(text, trace) {
			t.Errorf("%s shows the secret: %s", how, text)
			return
		}
	}
}

type holder struct {
	Name string
	Key  Bytes
	Many []Bytes
	Ptr  *Bytes
}

func TestNoVerbPrintsIt(t *testing.T) {
	b := Bytes(plain)
	h := holder{"name", b, []Bytes{b, b}, &b}
	for _, v := range []any{b, &b, h, &h, []any{b}, map[string]Bytes{"k": b}, [1]Bytes{b}, struct{ Any any }{b}} {
		for c := 'A'; c <= 'z'; c++ {
			if c == 'p' || c == 'w' {
				continue // for these fmt calls no method of an operand's parts; vet refuses them for what is no pointer and no error
			}
			for _, flags := range []string{"", "+", "#", " ", "0", "-20", "20", ".3", "+#x"} {
				format := "%" + flags + string(c)
				clean(t, fmt.Sprintf("%s of %T", format, v), fmt.Sprintf(format, v))
			}
		}
		clean(t, "Sprint", fmt.Sprint(v))
		clean(t, "Sprintln", fmt.Sprintln(v))
		clean(t, "Errorf", fmt.Errorf("key %v", v).Error())
	}
	if got := fmt.Sprintf("%s %v %x %#v", b, b, b, b); got != "[secret] [secret] [secret] [secret]" {
		t.Error(got)
	}
	clean(t, "String", b.String())
	clean(t, "GoString", b.GoString())
}

func TestNoEncoderWritesIt(t *testing.T) {
	b := Bytes(plain)
	h := holder{"name", b, []Bytes{b, b}, &b}
	for name, encode := range map[string]func(any) ([]byte, error){"JSON": json.Marshal, "XML": xml.Marshal, "TOML": toml.Marshal} {
		out, err := encode(h)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		clean(t, name, string(out))
		if !bytes.Contains(out, []byte("[secret]")) {
			t.Errorf("%s: %s", name, out)
		}
	}
}

func TestNoLoggerWritesIt(t *testing.T) {
	b := Bytes(plain)
	h := holder{"name", b, []Bytes{b}, &b}
	var out bytes.Buffer
	log := zerolog.New(&out)
	log.Info().Interface("key", b).Interface("holder", h).Any("pointer", &b).Stringer("string", b).Msgf("%v %+v", b, h)
	slog.New(slog.NewTextHandler(&out, nil)).Info("text", "key", b, "holder", h)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("json", "key", b, "holder", h)
	clean(t, "a logger", out.String())
}

func TestUnmarshalText(t *testing.T) {
	var h holder
	text := []byte(plain)
	if err := h.Key.UnmarshalText(text); err != nil || string(h.Key) != plain {
		t.Fatalf("%d bytes, %v", len(h.Key), err)
	}
	clear(text)
	if string(h.Key) != plain {
		t.Error("the secret shares memory with the text it came from")
	}
}

func TestEqual(t *testing.T) {
	b := Bytes(plain)
	for other, want := range map[string]bool{plain: true, "": false, plain[1:]: false, plain + "x": false, "geheimnis": false} {
		if b.Equal([]byte(other)) != want {
			t.Errorf("equal to %q: %v", other, !want)
		}
	}
	if !(Bytes(nil)).Equal(nil) {
		t.Error("nothing equals nothing")
	}
}

func TestWipe(t *testing.T) {
	b := Bytes(plain)
	same := b[:4]
	b.Wipe()
	if !bytes.Equal(b, make([]byte, len(plain))) || !bytes.Equal(same, make([]byte, 4)) {
		t.Error("bytes are left")
	}
}
