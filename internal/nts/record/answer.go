package record

import "encoding/binary"

// answerFaults is what reading any answer has in common: the order in which its faults count. An error that the peer
// reports itself, anywhere in the message, comes first, then the first fault found.
type answerFaults struct {
	failed bool // an Error record was there
	first  Fault
}

// walk gives each record before End of Message to take. It goes on behind a fault in one record, because an Error
// record may follow (V17), but not behind one that breaks the framing.
func (f *answerFaults) walk(msg []byte, take func(Record) Fault) Fault {
	for rest := msg; ; {
		r, tail, err := Consume(rest)
		if err != nil {
			return Truncated
		}
		rest = tail
		if r.Type != TypeEnd {
			f.note(take(r))
			continue
		}
		f.note(endFault(r, rest))
		if f.failed {
			return PeerError
		}
		return f.first
	}
}

// note keeps the first fault.
func (f *answerFaults) note(fault Fault) {
	if f.first == None {
		f.first = fault
	}
}

// failure reads an Error record; the first one counts.
func (f *answerFaults) failure(r Record, code *ErrorCode) Fault {
	if len(r.Body) != 2 {
		return Malformed
	}
	if !f.failed {
		f.failed, *code = true, ErrorCode(binary.BigEndian.Uint16(r.Body))
	}
	return None
}

// endFault checks the End of Message record and what follows it.
func endFault(r Record, rest []byte) Fault {
	switch {
	case !r.Critical || len(r.Body) != 0:
		return BadEnd
	case len(rest) != 0:
		return Trailing
	}
	return None
}
