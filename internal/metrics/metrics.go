package metrics

import "ntp-daemon/internal/observe"

// ContentType is the media type of the text.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// Append appends the text of all families and the closing "# EOF" line.
func Append(dst []byte, s *observe.Snapshot) []byte {
	for _, list := range [][]family{compatible, own} {
		for i := range list {
			dst = list[i].append(dst, s)
		}
	}
	return append(dst, "# EOF\n"...)
}
