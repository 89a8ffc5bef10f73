package loadgen

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/nts/ke"
	"ntp-daemon/internal/nts/record"
)

// Errors of a key exchange that callers match.
var (
	// ErrCurve: the two agreed on another curve than the one that is measured.
	ErrCurve = errors.New("the server does not do this key agreement")
	// ErrNotOffered: the server does not do this AEAD algorithm.
	ErrNotOffered = errors.New("the server does not do this AEAD algorithm")
)

// Exchange is a key exchange as a user makes it: TLS 1.3 without resumption, one AEAD algorithm, the answer checked.
type Exchange struct {
	Address   string // host:port
	Name      string // in the certificate; empty: the host of Address
	Roots     *x509.CertPool
	Curves    []tls.CurveID // what is offered; nil: what Go and so our client offers
	Algorithm aead.Algorithm
	Timeout   time.Duration // 0: ten seconds
}

// keys are what an exchange yields.
type keys struct {
	nts.Keys
	cookies [][]byte
}

// run makes one exchange from the first packet to the last.
func (x *Exchange) run(ctx context.Context) (keys, error) {
	timeout := x.Timeout
	if timeout <= 0 {
		timeout = 10 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := x.connect(ctx)
	if err != nil {
		return keys{}, err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return keys{}, fmt.Errorf("set deadline: %w", err)
	}
	offer := record.Offer{Protocols: []record.Protocol{record.NTPv4}, Algorithms: []aead.Algorithm{x.Algorithm}}
	if err := ke.WriteMessage(conn, deadline, record.AppendUser(nil, offer.Algorithms, "", nil)); err != nil {
		return keys{}, fmt.Errorf("send request: %w", err)
	}
	msg, err := ke.NewReader(conn, record.ResponseLimits).Next()
	if err != nil {
		return keys{}, fmt.Errorf("read response: %w", err)
	}
	resp, fault := record.ParseResponse(msg, offer)
	switch {
	case fault == record.NoCommonAlgorithm:
		return keys{}, ErrNotOffered
	case fault != record.None:
		return keys{}, fmt.Errorf("response: %w: %v", fault, resp.Code)
	}
	return export(conn, &resp)
}

// connect dials, shakes hands, and looks at what was agreed.
func (x *Exchange) connect(ctx context.Context) (*tls.Conn, error) {
	host, _, err := net.SplitHostPort(x.Address)
	if err != nil {
		return nil, fmt.Errorf("key exchange server: %w", err)
	}
	if x.Name != "" {
		host = x.Name
	}
	var d net.Dialer
	raw, err := d.DialContext(ctx, "tcp", x.Address)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	settings := ke.ClientTLS(host, x.Roots, nil)
	settings.CurvePreferences = x.Curves
	conn, err := ke.Handshake(ctx, raw, settings)
	if err != nil {
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	cs := conn.ConnectionState()
	err = ke.CheckALPN(cs)
	if err == nil && len(x.Curves) == 1 && cs.CurveID != x.Curves[0] {
		err = fmt.Errorf("%w: %v", ErrCurve, cs.CurveID)
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// export derives the keys.
func export(conn *tls.Conn, resp *record.Response) (keys, error) {
	cs := conn.ConnectionState()
	first, _, _ := nts.ClientContexts(resp.Algorithm, resp.CompliantExport)
	k, err := ke.ExportKeys(&cs, resp.Protocol, resp.Algorithm, first)
	if err != nil {
		return keys{}, err
	}
	return keys{k, resp.Cookies}, nil
}

// Sizes of what a request carries, in bytes.
const (
	uidSize = 32
	// ntsPlaces is how many requests are made in advance: enough that none is used again while it is under way.
	ntsPlaces = 1 << 12
	fieldHead = 4 // type and length of an extension field
)

// association is the requests of one key exchange, made once and sent again and again: this side then pays no cryptography
// for each. The server cannot tell, and does all of its own.
type association struct {
	requests [][]byte // by place
	s2c      aead.Cipher
	plain    []byte // scratch space for what is opened
}

// associate makes the requests; each has its place's number in its transmit stamp.
func associate(k keys, p *places, random io.Reader) (*association, error) {
	a := &association{plain: make([]byte, 0, ntp.MaxPacket)}
	var c2s aead.Cipher
	if err := errors.Join(c2s.Rekey(k.Algorithm, k.C2S), a.s2c.Rekey(k.Algorithm, k.S2C)); err != nil {
		return nil, fmt.Errorf("use keys: %w", err)
	}
	unique := make([]byte, uidSize+k.Algorithm.NonceSize())
	for i := range p.list {
		if _, err := io.ReadFull(random, unique); err != nil {
			return nil, fmt.Errorf("random bytes: %w", err)
		}
		b := make([]byte, headerSize, 512)
		b[0] = requestFlags
		binary.BigEndian.PutUint64(b[atTransmit:], p.stamp(uint64(i)))
		b = appendField(b, ntp.FieldUniqueID, unique[:uidSize])
		b = appendField(b, ntp.FieldCookie, k.cookies[i%len(k.cookies)])
		a.requests = append(a.requests, appendSeal(b, &c2s, unique[uidSize:]))
	}
	return a, nil
}

// appendField appends an extension field whose value is a multiple of four bytes long (RFC 7822 §3).
func appendField(b []byte, t ntp.FieldType, value []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(t))
	b = binary.BigEndian.AppendUint16(b, uint16(fieldHead+len(value)))
	return append(b, value...)
}

// appendSeal appends the authenticator of an empty plaintext (RFC 8915 §5.6). The nonce is padded to the 16 bytes that a
// server wants to have room for.
func appendSeal(b []byte, c *aead.Cipher, nonce []byte) []byte {
	var value [4 + 16 + aead.Overhead]byte
	binary.BigEndian.PutUint16(value[:], uint16(len(nonce)))
	binary.BigEndian.PutUint16(value[2:], aead.Overhead)
	n := 4 + copy(value[4:], nonce)
	n += len(c.Seal(value[n:n], nonce, nil, b))
	if n < len(value) {
		n = len(value) // additional padding
	}
	return appendField(b, ntp.FieldAuthenticator, value[:n])
}

// check looks whether an answer has the request's identifier and an authenticator; whole: and opens that.
func (a *association) check(b []byte, transmit uint64, whole bool) bool {
	request := a.requests[transmit&uint64(len(a.requests)-1)]
	var same bool
	for at := headerSize; at+fieldHead <= len(b); {
		kind, n := ntp.FieldType(binary.BigEndian.Uint16(b[at:])), int(binary.BigEndian.Uint16(b[at+2:]))
		if n < fieldHead || at+n > len(b) {
			return false
		}
		value := b[at+fieldHead : at+n]
		switch kind {
		case ntp.FieldUniqueID:
			same = string(value) == string(request[headerSize+fieldHead:][:uidSize])
		case ntp.FieldAuthenticator:
			return same && (!whole || a.open(value, b[:at]))
		}
		at += n
	}
	return false
}

// open checks an authenticator over what stands in front of it, which must hold at least a cookie.
func (a *association) open(value, front []byte) bool {
	if len(value) < 4 {
		return false
	}
	nonce, sealed := int(binary.BigEndian.Uint16(value)), int(binary.BigEndian.Uint16(value[2:]))
	from := 4 + (nonce+3)&^3
	if from+sealed > len(value) {
		return false
	}
	var err error
	a.plain, err = a.s2c.Open(a.plain[:0], value[4:4+nonce], value[from:from+sealed], front)
	return err == nil && len(a.plain) > fieldHead
}
