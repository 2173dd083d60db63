package docker

import (
	"fmt"
	"strings"
	"testing"

	"github.com/docker/docker/client"
)

// TestAttackForbiddenSocket: the user may not use the engine. The engine need not be
// started or installed for that.
func TestAttackForbiddenSocket(t *testing.T) {
	host := "unix://" + t.TempDir() + "/docker.sock"
	away, err := client.NewClientWithOpts(client.WithHost(host))
	if err != nil {
		t.Fatal(err)
	}
	_, failed := away.Ping(t.Context())
	forbidden := engineError(fmt.Errorf("permission denied while trying to connect: %w", failed), host).Error()
	if !strings.Contains(forbidden, "join the group docker") || strings.Contains(forbidden, "install it") {
		t.Error(forbidden)
	}
	if text := engineError(failed, host).Error(); !strings.Contains(text, "service docker start") {
		t.Error(text)
	}
}
