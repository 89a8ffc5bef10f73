package ntp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	// maxLeaps is far more leap seconds than there will be; minTAI and maxTAI bound TAI - UTC: it was 10 s when leap seconds began.
	maxLeaps       = 256
	minTAI, maxTAI = 10, 255
	// ntpUnix is the Unix time of the NTP epoch, negated: the list counts from 1900 and never wraps.
	ntpUnix = 2_208_988_800
)

// ErrLeapTable says that a list of leap seconds is not one.
var ErrLeapTable = errors.New("list of leap seconds")

// LeapTable is TAI - UTC since 1972, as the list of leap seconds says that IERS and NIST publish (leap-seconds.list). It is
// immutable; a nil table knows nothing.
type LeapTable struct {
	from    []int64 // Unix time from which on, ascending
	tai     []int   // the offset counts, s
	expires int64   // Unix time after which a leap second may have come that is not in it
}

// ParseLeapTable reads the list: lines of NTP seconds and offset, "#@" and the time when it expires; other lines that begin with
// "#" are remarks.
func ParseLeapTable(text []byte) (*LeapTable, error) {
	t := &LeapTable{}
	for sc := bufio.NewScanner(bytes.NewReader(text)); sc.Scan(); {
		line := sc.Text()
		if rest, is := strings.CutPrefix(line, "#@"); is {
			sec, err := strconv.ParseInt(strings.TrimSpace(rest), 10, 64)
			if err != nil {
				return nil, fmt.Errorf("%w: expiry %q", ErrLeapTable, rest)
			}
			t.expires = sec - ntpUnix
			continue
		}
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if err := t.add(fields); err != nil {
			return nil, err
		}
	}
	if len(t.from) == 0 || t.expires <= t.from[len(t.from)-1] {
		return nil, fmt.Errorf("%w: no entry, or none that has not expired", ErrLeapTable)
	}
	return t, nil
}

// add enters one line.
func (t *LeapTable) add(fields []string) error {
	if len(fields) < 2 || len(t.from) == maxLeaps {
		return fmt.Errorf("%w: %q", ErrLeapTable, fields)
	}
	sec, err1 := strconv.ParseInt(fields[0], 10, 64)
	tai, err2 := strconv.Atoi(fields[1])
	n := len(t.from)
	if err1 != nil || err2 != nil || tai < minTAI || tai > maxTAI || n > 0 && sec-ntpUnix <= t.from[n-1] {
		return fmt.Errorf("%w: %q", ErrLeapTable, fields)
	}
	t.from, t.tai = append(t.from, sec-ntpUnix), append(t.tai, tai)
	return nil
}

// TAI is TAI - UTC at the given time, s; 0 where the table does not reach or has expired.
func (t *LeapTable) TAI(at time.Time) (offset int) {
	if t == nil || at.Unix() >= t.expires {
		return 0
	}
	for i, from := range t.from {
		if at.Unix() < from {
			break
		}
		offset = t.tai[i]
	}
	return offset
}
