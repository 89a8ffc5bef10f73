package config

import (
	"fmt"
	"testing"
)

func TestSplitAddress(t *testing.T) {
	for in, want := range map[string]string{
		"a": "a 0", "a:123": "a 123", "192.0.2.1": "192.0.2.1 0", "192.0.2.1:1": "192.0.2.1 1", "::1": "::1 0", "[::1]": "::1 0", "[::1]:5": "::1 5",
		"a.example.": "a.example. 0", "fe80::1%eth0": "fe80::1%eth0 0", "[fe80::1%eth0]": "fe80::1%eth0 0", "[fe80::1%eth0]:123": "fe80::1%eth0 123",
	} {
		host, port, err := SplitAddress(in)
		if got := fmt.Sprintf("%s %d", host, port); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", in, got, err, want)
		}
	}
	for _, in := range []string{"", ":", ":123", "a:", "a:0", "a:65536", "[::1", "[::1]:", "[a]:1", "a b", "a\x1b", "fe80::a", "[fe80::a]", "[fe80::a]:123"} {
		if host, _, err := SplitAddress(in); err == nil {
			t.Errorf("%q is %q", in, host)
		}
	}
}

func FuzzSplitAddress(f *testing.F) {
	for _, s := range []string{"a", "a:1", "[::1]:1", "::1", "a:b:c", "[", ":"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if host, _, err := SplitAddress(s); err == nil && host == "" {
			t.Fatalf("%q: empty host", s)
		}
	})
}
