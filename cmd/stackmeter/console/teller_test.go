package console

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"
)

// TestTellerDrops has the teller's reader stand still and go on.
func TestTellerDrops(t *testing.T) {
	read, write := io.Pipe() // takes a write when it is read
	told := NewTeller(write)
	const more = 10
	for range tellerQueue + 1 + more { // one is being written
		if n, err := told.Write([]byte("message\n")); n != 8 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
	}
	var said bytes.Buffer
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(&said, read)
	}()
	told.Flush(time.Minute)
	write.Close()
	<-done
	messages := strings.Count(said.String(), "message\n")
	if messages != tellerQueue && messages != tellerQueue+1 || !strings.Contains(said.String(), "dropped, because nobody read standard error") {
		t.Errorf("%d messages of %d\n%s", messages, tellerQueue+1+more, said.String()[messages*8:])
	}
}
