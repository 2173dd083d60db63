package docker

import (
	"strings"
	"testing"

	options "stackmeter/scenarios/container"
)

// TestAttackRefusedForLackOfACapability: what Docker would have permitted is said to
// be that, with the capability that it takes; what it would refuse, too, is not.
func TestAttackRefusedForLackOfACapability(t *testing.T) {
	for log, want := range map[string]string{
		"    os.chown(path, uid, gid)\n    ~~~~~~~~^^^^^^^^\nPermissionError: [Errno 1] Operation not permitted: '/tmp/w'": "[CHOWN, SETGID, SETUID]", // gunicorn -u
		"setuid(): Operation not permitted [core/utils.c line 908]":                                                        "[CHOWN, SETGID, SETUID]", // uwsgi --uid
		"chown: changing ownership of '/data': Operation not permitted":                                                    "[CHOWN, SETGID, SETUID]",
		"su: cannot set groups: Operation not permitted":                                                                   "[CHOWN, SETGID, SETUID]",
		"error: failed switching to \"svc\": operation not permitted":                                                      "[CHOWN, SETGID, SETUID]", // gosu
		"setpriv: setresuid failed: Operation not permitted":                                                               "[CHOWN, SETGID, SETUID]",
		"sudo: The \"no new privileges\" flag is set":                                                                      "[CHOWN, SETGID, SETUID]",
		"ls: cannot open directory '/svc': Permission denied":                                                              "[DAC_OVERRIDE]",
		"Error: [Errno 13] Permission denied: '/svc'":                                                                      "[DAC_OVERRIDE]",
		"chmod: changing permissions of '/svc': Operation not permitted":                                                   "[FOWNER]",
		"touch: setting times of 'x': Operation not permitted":                                                             "[FOWNER]",
		"nginx: [emerg] bind() to 0.0.0.0:80 failed (13: Permission denied)":                                               "[NET_BIND_SERVICE]",
		"ping: socktype: SOCK_RAW\nping: socket: Operation not permitted":                                                  "[NET_RAW]",
		"mknod: /tmp/x: Operation not permitted":                                                                           "[MKNOD]",
		"chroot: cannot change root directory to '/': Operation not permitted":                                             "[SYS_CHROOT]",
		"/cache: Permission denied\nlistening\nworker\nready\nchmod: x: Operation not permitted":                           "[DAC_OVERRIDE, FOWNER]",
		"s6-overlay-suexec: fatal: can only run as pid 1":                                                                  "process 1",
		"all is well": "",
	} {
		got := refusedHint(strings.Split(log, "\n"), "", []string{"SETPCAP"})
		if !strings.Contains(got, want) || (got == "") != (want == "") {
			t.Errorf("%s: %q", log, got)
		}
	}
	const denied = "open /data: Permission denied"
	if got := refusedHint([]string{denied}, "svc:svc", nil); got != "" {
		t.Errorf("another user is denied a file, as Docker would: %q", got)
	}
	if got := refusedHint([]string{denied}, "0:7", []string{"DAC_OVERRIDE"}); got != "" {
		t.Errorf("the capability is there: %q", got)
	}
	if got := refusedHint([]string{"chown: x: Operation not permitted"}, "svc", nil); !strings.Contains(got, "user: root and capabilities") {
		t.Errorf("another user: %q", got)
	}
}

func TestReadOnlyHint(t *testing.T) {
	yes := true
	lines := []string{"FileNotFoundError: [Errno 2] No usable temporary directory found in ['/tmp', '/var/tmp', '/usr/tmp', '/app']"}
	if got := readOnlyHint(lines, options.Options{ReadOnly: &yes}); !strings.Contains(got, "tmpfs: {/tmp: 64MiB}") {
		t.Errorf("%q", got)
	}
	if got := readOnlyHint(lines, options.Options{}); got != "" {
		t.Errorf("where all can be written: %q", got)
	}
	if got := readOnlyHint([]string{"all is well"}, options.Options{ReadOnly: &yes}); got != "" {
		t.Errorf("where nothing is wrong: %q", got)
	}
}
