package config

import (
	"crypto/sha3"
	"encoding/hex"
	"fmt"
	"strings"

	"ntp-daemon/internal/pool"
	"ntp-daemon/internal/secret"
)

// mostKeys bounds a file of monitoring keys and one of base secrets.
const mostKeys = 1024

// baseSecrets are what the tokens of time sources are made from, by index; more than one while they are rotated.
type baseSecrets struct {
	path string
	list []secret.Bytes
}

// baseSecrets reads a file with one secret in each line that is not empty; their numbers count from 0
// (docs/rules/pool.md#base-secret). nil if there is none, or it cannot be used, which is then told.
func (l *loader) baseSecrets(t *table, key string, p *Pool) *baseSecrets {
	b := &baseSecrets{}
	if !t.file(key, "/etc/nts-pool-ke/base-secret", &b.path) {
		return nil
	}
	p.baseSecret = true
	n := t.node.children[key]
	data := l.named(t, key, n, b.path)
	if data == nil {
		return nil
	}
	defer clear(data)
	p.read = append(p.read, b.path)
	t.examine(key, examineTokenFile(b.path))
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line != "" {
			b.list = append(b.list, secret.Bytes(line))
		}
	}
	switch {
	case len(b.list) == 0:
		t.fail(key, n, b.path+" holds no secret", "write one into a line of it, of 32 characters or more: openssl rand -hex 32")
		return nil
	case len(b.list) > mostKeys:
		t.fail(key, n, fmt.Sprintf("%s holds %d secrets, more than %d", b.path, len(b.list), mostKeys), "give the file of the base secrets")
		return nil
	}
	for i, s := range b.list {
		if len(s) < shortToken {
			l.told(CheckShortToken, n.val, t.name(key), fmt.Sprintf("%s: secret %d has %d characters and can be guessed, and every token with it", b.path, i, len(s)), newToken)
		}
	}
	return b
}

// token is the token of one time source: SHA3-256 of secret, id and randomizer one behind the other, in hexadecimal.
func (b *baseSecrets) token(index int, id, randomizer string) secret.Bytes {
	h := sha3.New256()
	for _, part := range [][]byte{b.list[index], []byte(id), []byte(randomizer)} {
		_, _ = h.Write(part) // a hash takes everything
	}
	sum := h.Sum(nil)
	defer clear(sum)
	return hex.AppendEncode(nil, sum)
}

// derived reads what a time source's token is made of, and makes it, unless the entry has tokens of its own. written: there is a base secret,
// which may be unusable.
func (t *table) derived(s *pool.Backend, b *baseSecrets, written bool) {
	const index, randomizer = "base-key-index", "randomizer"
	at, salt := 0, ""
	t.integer(index, span{min: 0, max: mostKeys - 1}, &at)
	if n := t.typed(randomizer, kindString, randomizer+` = "…"`); n != nil {
		salt = n.text
	}
	if !written {
		t.pointless(index, randomizer)
	}
	switch n := t.node.children[index]; {
	case b == nil || len(s.Tokens) > 0:
	case at >= len(b.list):
		t.fail(index, n, fmt.Sprintf("%d is not in %s, whose secrets are 0 to %d", at, b.path, len(b.list)-1), "add that secret, or write the index of one that is there")
	case s.ID == "":
		t.missing("id", "write the id that the token is made with, or tokens")
	default:
		s.Tokens = []secret.Bytes{b.token(at, s.ID, salt)}
	}
}

// pointless tells once for each of these keys that it makes no token, because there is nothing to make one from.
func (t *table) pointless(keys ...string) {
	for _, key := range keys {
		if n := t.node.children[key]; n != nil && !t.l.ignored[key] {
			t.l.ignored[key] = true
			t.l.warn(n.key, t.name(key), "makes no token without a base secret, here and in the entries that follow", "write base-shared-secret-path, or remove it")
		}
	}
}

// monitoringKeys reads the keys of monitors: a file with an array of strings in JSON, or that array itself, as older
// versions of the public pool had it.
func (l *loader) monitoringKeys(t *table, key string, p *Pool, inline bool) {
	n := t.node.children[key]
	if inline && n != nil && n.kind == kindArray {
		p.MonitoringKeys = t.tokens(key)
		return
	}
	var path string
	if !t.file(key, "/etc/nts-pool-ke/monitors.json", &path) {
		return
	}
	data := l.named(t, key, n, path)
	if data == nil {
		return
	}
	defer clear(data)
	p.read = append(p.read, path)
	sub := l.within(path)
	doc, syntax := parseJSON(data)
	sub.doc = doc
	switch {
	case syntax != nil:
		sub.problem(syntax.at, "", syntax.what, `write an array of strings in JSON, ["…"]`)
	case doc.root.kind != kindArray:
		sub.problem(doc.root.val, "", "needs an array of keys, not "+doc.root.kind.String(), `write ["…"]`)
	case len(doc.root.items) > mostKeys:
		sub.problem(doc.root.val, "", fmt.Sprintf("holds %d keys, more than %d", len(doc.root.items), mostKeys), "remove some")
	default:
		p.MonitoringKeys = sub.keys(doc.root.items)
	}
	l.join(sub)
}

// keys takes the strings of such a file.
func (l *loader) keys(items []*node) (list []secret.Bytes) {
	for _, item := range items {
		what := "needs strings, not " + item.kind.String()
		switch {
		case item.kind == kindString && item.text == "":
			what = "holds an empty key, which everybody could show"
		case item.kind == kindString:
			what = checkToken(item.text)
		}
		if what != "" {
			l.problem(item.val, "", what, "make a new key")
			continue
		}
		if len(item.text) < shortToken {
			l.told(CheckShortToken, item.val, "", fmt.Sprintf("holds a key of %d characters, which can be guessed", len(item.text)), newToken)
		}
		list = append(list, secret.Bytes(item.text))
	}
	l.noteTokens("", 0)
	return list
}
