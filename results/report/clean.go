package report

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Clean makes text safe to print on a terminal. Newlines stay and tabs become
// spaces; every other character that is not printable (escape sequences,
// carriage returns, marks that reverse the direction of writing, bytes that
// are no UTF-8) is written as its Go escape, so that it is seen and does
// nothing.
func Clean(text string) string { return clean(text, true) }

// cleanLine is Clean for text that has to stay on one line.
func cleanLine(text string) string { return clean(text, false) }

func clean(text string, newlines bool) string {
	var b strings.Builder
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			b.WriteString(`\x` + strconv.FormatUint(uint64(text[i])|0x100, 16)[1:])
		case r == '\n' && newlines:
			b.WriteRune(r)
		case r == '\t':
			b.WriteString("    ")
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		i += size
	}
	return b.String()
}

// Bounds of a failure's log tail in a report. The store keeps all of it.
const (
	logLines = 20
	logRunes = 200 // of a line
)

// tail returns the last lines of a log, cleaned and bounded.
func tail(log string) []string {
	log = strings.TrimRight(strings.ReplaceAll(log, "\r\n", "\n"), "\n ")
	if log == "" {
		return nil
	}
	lines := strings.Split(log, "\n")
	if len(lines) > logLines {
		lines = lines[len(lines)-logLines:]
	}
	for i, line := range lines {
		lines[i] = shorten(cleanLine(line), logRunes)
	}
	return lines
}

// shorten cuts text to at most n characters, the last of which then is …
func shorten(text string, n int) string {
	if utf8.RuneCountInString(text) <= n {
		return text
	}
	return string([]rune(text)[:n-1]) + "…"
}
