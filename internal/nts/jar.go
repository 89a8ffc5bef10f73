package nts

import "bytes"

const (
	// jarSize is how many cookies a client holds (RFC 8915 §4.1.6 asks a server for eight).
	jarSize = 8
	// minCookie and maxCookie bound the cookies that are kept, in bytes: ntpd-rs before 1.5.0 divided by a zero
	// length and broke on cookies that no packet can carry (docs/rules/client.md#cookie-size).
	minCookie, maxCookie = 4, 350
)

// usableCookie reports whether a server's cookie can be sent back. Its length must be a multiple of four: the
// padding of an extension field would change the bytes that the server gets to see.
func usableCookie(cookie []byte) bool {
	return len(cookie) >= minCookie && len(cookie) <= maxCookie && len(cookie)%4 == 0
}

// jar holds up to eight cookies, oldest first. Each is handed out once: a cookie seen twice on the network links
// two requests to one client (RFC 8915 §9.1).
type jar struct {
	slots [jarSize][maxCookie]byte
	sizes [jarSize]int
	first int // slot of the oldest
	count int
}

// put adds a cookie if it is usable and not in the jar already. A full jar drops its oldest, whose key the server will
// rotate out first.
func (j *jar) put(cookie []byte) {
	if !usableCookie(cookie) {
		return
	}
	for i := range j.count {
		if bytes.Equal(j.at(i), cookie) {
			return
		}
	}
	if j.count == jarSize {
		j.drop()
	}
	slot := (j.first + j.count) % jarSize
	j.sizes[slot] = copy(j.slots[slot][:], cookie)
	j.count++
}

// putBack makes a cookie that was dropped the oldest again, if there is room.
func (j *jar) putBack(cookie []byte) {
	if len(cookie) == 0 || j.count == jarSize {
		return
	}
	j.first = (j.first + jarSize - 1) % jarSize
	j.sizes[j.first] = copy(j.slots[j.first][:], cookie)
	j.count++
}

// at returns the i-th oldest cookie; it stays the jar's memory.
func (j *jar) at(i int) []byte {
	slot := (j.first + i) % jarSize
	return j.slots[slot][:j.sizes[slot]]
}

// drop forgets the oldest cookie.
func (j *jar) drop() {
	clear(j.at(0))
	j.first = (j.first + 1) % jarSize
	j.count--
}
