package metrics

import "ntp-daemon/internal/observe"

// ContentType is the media type of the text.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// Append appends the text of all families of the program that s is of, and the closing "# EOF" line.
func Append(dst []byte, s *observe.Snapshot) []byte {
	lists := [][]family{compatible, own}
	if s.Pool != nil {
		lists = [][]family{pool}
		if s.Pool.Monitor != nil {
			lists = append(lists, monitored)
		}
	}
	for _, list := range lists {
		for i := range list {
			dst = list[i].append(dst, s)
		}
	}
	return append(dst, "# EOF\n"...)
}
