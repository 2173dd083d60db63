//go:build !linux

package postgres

import (
	"net"
	"time"
)

// dialer makes connections that notice when the network is gone, as far as the
// system's keep-alive does.
func dialer(timeout time.Duration) *net.Dialer {
	return &net.Dialer{Timeout: timeout, KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 10 * time.Second, Count: 2}}
}
