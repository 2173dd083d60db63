package kubernetes

import (
	"errors"
	"fmt"
	"net"
	"time"
)

// holdSocket is where Hold listens: an abstract address, in the Pod's network alone, for
// which no folder has to be writable.
const holdSocket = "@stackmeter-hold"

// releasePatience is how long Hold waits for the end of who called Release.
const releasePatience = 5 * time.Second

// Hold returns when a process of the same Pod has called Release and ended. Hold's own is
// the container's first process, with which the kernel ends all others: a release that was
// ended so would look like one that failed.
func Hold() error {
	listener, err := net.Listen("unix", holdSocket)
	if err != nil {
		return fmt.Errorf("hold: %w", err)
	}
	defer listener.Close()
	conn, err := listener.Accept()
	if err != nil {
		return fmt.Errorf("hold: %w", err)
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(releasePatience)); err != nil {
		return fmt.Errorf("hold: %w", err)
	}
	_, _ = conn.Read(make([]byte, 1)) // its end is waited for
	return nil
}

// released is a connection that ends with this process.
var released net.Conn

// Release has Hold return, once this process has ended.
func Release() (err error) {
	if released, err = net.Dial("unix", holdSocket); err != nil {
		return errors.Join(errors.New("nothing is held here: stackmeter itself calls this, in its Pods"), err)
	}
	return nil
}
