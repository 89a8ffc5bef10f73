package docs_test

import "strings"

// pageWidth is the longest input line that mandoc accepts without a remark, in bytes.
const pageWidth = 80

// wrapped breaks the text lines of an mdoc page at blanks, so that none is wider than pageWidth. Requests stay whole, and no
// line begins with a character that would make it one.
func wrapped(page string) string {
	var b strings.Builder
	for line := range strings.Lines(page) {
		for len(line) > pageWidth+1 && line[0] != '.' && line[0] != '\'' {
			at := strings.LastIndexByte(line[:pageWidth+1], ' ')
			for at > 0 && strings.ContainsRune(".'", rune(line[at+1])) {
				at = strings.LastIndexByte(line[:at], ' ')
			}
			if at <= 0 {
				break
			}
			b.WriteString(line[:at] + "\n")
			line = line[at+1:]
		}
		b.WriteString(line)
	}
	return b.String()
}
