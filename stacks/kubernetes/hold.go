package kubernetes

import (
	"errors"
	"fmt"
	"net"
)

// holdSocket is where Hold listens: an abstract address, in the Pod's network alone, for
// which no folder has to be writable.
const holdSocket = "@stackmeter-hold"

// Hold returns when Release is called in the same Pod.
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
	return conn.Close()
}

// Release has Hold return.
func Release() error {
	conn, err := net.Dial("unix", holdSocket)
	if err != nil {
		return errors.Join(errors.New("nothing is held here: stackmeter itself calls this, in its Pods"), err)
	}
	return conn.Close()
}
