package nts

import (
	"io"

	"ntp-daemon/internal/ntp"
)

// RequestVerdict says what a server does with a request.
type RequestVerdict uint8

// The verdicts of Request.Open.
const (
	NotNTS  RequestVerdict = iota // answer plainly; AppendUID echoes a unique identifier if there is one
	Valid                         // authenticated: answer with AppendResponse
	SendNAK                       // answer with AppendNAK
	Drop                          // say nothing
)

// Request is a verified NTS request. The zero value is ready; reuse it, it keeps its buffers.
type Request struct {
	UID        []byte // unique identifier to echo, aliases the packet; nil without one
	Keys       Keys   // from the cookie
	Cookies    int    // wanted: 1 for the one spent and 1 for each placeholder, at most 8
	CookieSize int    // length of the spent cookie, and of each placeholder, in bytes
}

// Open judges the request pkt, whose trailer f holds.
func (r *Request) Open(pkt []byte, f *ntp.Fields, ks *KeySet, s *Sealer) RequestVerdict {
	return NotNTS
}

// AppendResponse appends the NTS fields of a reply to dst, which holds the reply from its first byte. The
// whole packet will not be longer than max; false if not even an authenticator without cookies fits.
func (r *Request) AppendResponse(dst []byte, ks *KeySet, s *Sealer, rnd io.Reader, max int) ([]byte, bool) {
	return dst, false
}

// AppendNAK appends a whole NTSN packet in answer to the request with header h.
func (r *Request) AppendNAK(dst []byte, h *ntp.Header) []byte { return dst }

// AppendUID appends the unique identifier field of the request, if it had one, to a plain reply.
func (r *Request) AppendUID(dst []byte) []byte { return dst }
