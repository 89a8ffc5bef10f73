package logging

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"unicode"
	"unicode/utf8"

	"github.com/rs/zerolog"
)

// textWriter turns zerolog's JSON lines into
//
//	prefix target: message key=value key=value
//
// with the fields in the order in which they were added. It keeps no state between lines, so it may be shared.
type textWriter struct {
	out    io.Writer
	prefix func(dst []byte, level, time string) []byte
}

// line is one log record, taken apart.
type line struct {
	level, time, target, message string
	fields                       []byte // " key=value" for each
}

var errNotObject = errors.New("log line is not an object")

// Write implements io.Writer for one record. A record that cannot be read is passed on as it is.
func (w *textWriter) Write(record []byte) (int, error) {
	l, err := parse(record)
	if err != nil {
		return w.out.Write(record)
	}
	text := w.prefix(make([]byte, 0, len(record)+16), l.level, l.time)
	if l.target != "" {
		text = appendPlain(text, l.target)
		text = append(text, ": "...)
	}
	text = appendPlain(text, l.message)
	text = append(text, l.fields...)
	text = append(text, '\n')
	if _, err := w.out.Write(text); err != nil {
		return 0, err
	}
	return len(record), nil
}

// parse reads a record key by key: the order of its members is what a map would lose.
func parse(record []byte) (l line, err error) {
	dec := json.NewDecoder(bytes.NewReader(record))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return l, errors.Join(errNotObject, err)
	}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return l, err
		}
		key, _ := t.(string) // the decoder accepts nothing else before a colon
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return l, err
		}
		l.add(key, value)
	}
	return l, nil
}

// add files one member of the record.
func (l *line) add(key string, value json.RawMessage) {
	text, isString := unquote(value)
	switch key {
	case zerolog.LevelFieldName:
		l.level = text
	case zerolog.TimestampFieldName:
		l.time = text
	case zerolog.MessageFieldName:
		l.message = text
	case TargetField:
		l.target = text
	default:
		l.fields = append(l.fields, ' ')
		l.fields = appendPlain(l.fields, key)
		l.fields = append(l.fields, '=')
		if isString && needsQuotes(text) {
			l.fields = strconv.AppendQuote(l.fields, text)
		} else {
			l.fields = append(l.fields, text...)
		}
	}
}

// unquote returns a string's content, or any other value as it stands.
func unquote(value json.RawMessage) (text string, isString bool) {
	if len(value) > 0 && value[0] == '"' && json.Unmarshal(value, &text) == nil {
		return text, true
	}
	return string(value), false
}

// needsQuotes reports whether a value could be mistaken for something else when it stands bare.
func needsQuotes(s string) bool {
	for _, r := range s {
		if r == ' ' || r == '"' || r == '=' || r == '\\' || r == utf8.RuneError || !unicode.IsPrint(r) {
			return true
		}
	}
	return s == ""
}

// appendPlain appends text with everything that could forge a line or command a terminal spelled out.
func appendPlain(dst []byte, s string) []byte {
	for _, r := range s {
		if unicode.IsPrint(r) {
			dst = utf8.AppendRune(dst, r)
			continue
		}
		quoted := strconv.QuoteRune(r)
		dst = append(dst, quoted[1:len(quoted)-1]...)
	}
	return dst
}

// The console's levels, right-aligned in five columns, and their colours.
var consoleLevels = map[string]struct{ name, color string }{
	"trace": {"TRACE", "\x1b[35m"}, "debug": {"DEBUG", "\x1b[34m"}, "info": {" INFO", "\x1b[32m"},
	"warn": {" WARN", "\x1b[33m"}, "error": {"ERROR", "\x1b[31m"}, "fatal": {"ERROR", "\x1b[31m"}, "panic": {"ERROR", "\x1b[31m"},
}

// consolePrefix writes time and level.
func consolePrefix(color bool) func(dst []byte, level, time string) []byte {
	return func(dst []byte, level, time string) []byte {
		l, ok := consoleLevels[level]
		if !ok {
			l = consoleLevels["info"]
		}
		dst = append(append(dst, time...), ' ')
		if color {
			dst = append(append(append(dst, l.color...), l.name...), "\x1b[0m"...)
		} else {
			dst = append(dst, l.name...)
		}
		return append(dst, ' ')
	}
}
