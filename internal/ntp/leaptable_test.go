package ntp

import (
	"errors"
	"strings"
	"testing"
	"time"
)

const leapList = `#	ATOMIC TIME
#$	3676924800
#@	3991593600
2272060800	10	# 1 Jan 1972
3644697600      36      # 1 Jul 2015
3692217600      37      # 1 Jan 2017

#h	49db2447 571e5e1b 2f002a53 9c8da8e4 39b8e49e
`

func TestLeapTable(t *testing.T) {
	table, err := ParseLeapTable([]byte(leapList))
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[string]int{
		"1971-12-31T23:59:59Z": 0, "1972-01-01T00:00:00Z": 10, "2016-12-31T23:59:59Z": 36, "2017-01-01T00:00:00Z": 37,
		"2026-06-27T23:59:59Z": 37, "2026-06-28T00:00:00Z": 0,
	} {
		when, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		if got := table.TAI(when); got != want {
			t.Errorf("%s: %d, want %d", at, got, want)
		}
	}
	if n := (*LeapTable)(nil).TAI(time.Now()); n != 0 {
		t.Errorf("no table says %d", n)
	}
}

func TestParseLeapTable_Refuses(t *testing.T) {
	for name, text := range map[string]string{
		"empty":          "",
		"no expiry":      strings.Replace(leapList, "#@", "#", 1),
		"expiry":         strings.Replace(leapList, "#@\t3991593600", "#@ soon", 1),
		"expired before": strings.Replace(leapList, "3991593600", "3692217600", 1),
		"back in time":   strings.Replace(leapList, "3644697600", "3844697600", 1),
		"no offset":      strings.Replace(leapList, "3692217600      37      # 1 Jan 2017", "3692217600", 1),
		"offset":         strings.Replace(leapList, "      37 ", "      3700 ", 1),
		"words":          strings.Replace(leapList, "3692217600", "tomorrow", 1),
		"without end":    leapList + strings.Repeat("3692217601 38\n", maxLeaps),
	} {
		if _, err := ParseLeapTable([]byte(text)); !errors.Is(err, ErrLeapTable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseLeapTable(f *testing.F) {
	f.Add([]byte(leapList))
	f.Fuzz(func(t *testing.T, text []byte) {
		table, err := ParseLeapTable(text)
		if err != nil {
			return
		}
		if n := table.TAI(time.Unix(table.expires-1, 0)); n < minTAI || n > maxTAI || len(table.from) > maxLeaps {
			t.Errorf("%d", n)
		}
	})
}
