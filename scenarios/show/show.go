// Package show makes text fit to be shown: without control characters, on one
// line, shortened, quoted, with a noun in the right number, without secrets. Its
// Tail keeps the end of an output.
package show

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Clean makes text safe to print on a terminal. Newlines stay and tabs become
// spaces. Every other character that is not printable (escape sequences,
// carriage returns, marks that reverse the direction of writing, bytes that
// are no UTF-8) is written as its Go escape: it is seen and does nothing.
func Clean(text string) string { return clean(text, true) }

// Line is Clean for text that has to stay on one line.
func Line(text string) string { return clean(text, false) }

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

// Columns makes text printable on one line and keeps the column of every
// character: newlines and tabs become a space, anything else that is not
// printable becomes U+FFFD.
func Columns(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return utf8.RuneError
		}
		return r
	}, text)
}

// Shorten cuts text to at most n characters. The last one is … if any is
// missing.
func Shorten(text string, n int) string {
	if begin(text, n) == text {
		return text
	}
	return begin(text, n-1) + Missing
}

// Missing stands where Shorten and Quote left something out.
const Missing = "…"

// Quoted is how many characters Quote shows at most.
const Quoted = 60

// Quote is the beginning of a text from elsewhere, as a Go string: "abc", or
// "abc"… if that is not all of it.
func Quote[T ~string | ~[]byte](text T) string {
	head := begin(string(text[:min(len(text), Quoted*utf8.UTFMax)]), Quoted)
	if len(head) < len(text) {
		return strconv.Quote(head) + Missing
	}
	return strconv.Quote(head)
}

// begin is the first n characters of a text.
func begin(text string, n int) string {
	for i := range text {
		if n == 0 {
			return text[:i]
		}
		n--
	}
	return text
}

// Shell is a text as a word of a shell's command line, quoted where it has to be.
func Shell(text string) string {
	if text != "" && strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:=@%+,-") == "" {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// Command is an argv as a shell takes it.
func Command(argv ...string) string {
	words := make([]string, len(argv))
	for i, word := range argv {
		words[i] = Shell(word)
	}
	return strings.Join(words, " ")
}

// Plural is a number with what it counts: "1 repeat", "2 repeats". The noun is
// one that takes an s.
func Plural(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return strconv.Itoa(n) + " " + noun
}

// Wrap breaks text between words, into lines of at most width characters where the
// words allow it.
func Wrap(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}
