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
	const host = "unix:///var/run/docker.sock"
	failed := client.ErrorConnectionFailed(host)
	forbidden := engineError(fmt.Errorf("permission denied while trying to connect: %w", failed), host).Error()
	if !strings.Contains(forbidden, "join the group docker") || strings.Contains(forbidden, "install it") {
		t.Error(forbidden)
	}
	if away := engineError(failed, host).Error(); !strings.Contains(away, "service docker start") {
		t.Error(away)
	}
}
