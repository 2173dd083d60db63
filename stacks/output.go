package stacks

import "fmt"

// MaxOutput bounds what Stack.Exec keeps of a command's output, in bytes.
const MaxOutput = 1 << 20

// ErrOutput is what becomes of a command that writes more than MaxOutput.
var ErrOutput = fmt.Errorf("it wrote more than %d bytes, and the rest was not read", MaxOutput)

// An Output keeps what a command inside a service writes, which is as long as
// the service wants it to be. The Write that would make it longer than
// MaxOutput keeps what there is room for, calls Full with ErrOutput if there is
// one, and returns ErrOutput.
type Output struct {
	Full func(error)

	text []byte
}

// Write implements io.Writer.
func (o *Output) Write(p []byte) (int, error) {
	n := min(len(p), MaxOutput-len(o.text))
	o.text = append(o.text, p[:n]...)
	if n == len(p) {
		return n, nil
	}
	if o.Full != nil {
		o.Full(ErrOutput)
	}
	return n, ErrOutput
}

// Bytes is what was kept.
func (o *Output) Bytes() []byte { return o.text }
