package export

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"stackmeter/stacks"
)

// settingOf are gunicorn's settings that are not called as their option is:
// https://docs.gunicorn.org/en/stable/settings.html
var settingOf = map[string]string{
	"keep-alive": "keepalive", "preload": "preload_app", "access-logfile": "accesslog",
	"access-logformat": "access_log_format", "error-logfile": "errorlog", "log-file": "errorlog",
	"log-level": "loglevel", "log-config": "logconfig", "log-config-json": "logconfig_json", "log-syslog": "syslog",
	"log-syslog-to": "syslog_addr", "log-syslog-prefix": "syslog_prefix", "log-syslog-facility": "syslog_facility",
	"name": "proc_name", "pid": "pidfile", "proxy-allow-from": "proxy_allow_ips", "reload-extra-file": "reload_extra_files",
	"limit-request-field_size": "limit_request_field_size",
}

var errNotGunicorn = errors.New("the topology's server is not gunicorn")

// gunicornConf writes gunicorn.conf.py from the command line that was measured.
func gunicornConf(d Deployment) ([]File, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	s := d.Spec.Services[0]
	argv := s.Argv(s.InContainer(d.Spec.ByName()))
	if len(argv) == 0 || argv[0] != "gunicorn" || s.WSGI == "" {
		return nil, errNotGunicorn
	}
	var b strings.Builder
	if others := len(d.Spec.Services) - 1; others > 0 {
		fmt.Fprintf(&b, "# This is one of the %d services that were measured: stackmeter export --format compose\n# writes all of them.\n", others+1)
	}
	if mib, how := d.memory(s); mib > 0 {
		fmt.Fprintf(&b, "# Give it %d MiB of main memory: %s.\n", mib, how)
	}
	fmt.Fprintf(&b, "wsgi_app = %s\n", pythonText(argv[len(argv)-1]))
	options := argv[1 : len(argv)-1]
	for i := 0; i < len(options); i++ {
		name, value, has := strings.Cut(strings.TrimPrefix(options[i], "--"), "=")
		if !has && i+1 < len(options) && !strings.HasPrefix(options[i+1], "--") {
			i++
			value, has = options[i], true
		}
		fmt.Fprintln(&b, gunicornSetting(name, value, has))
	}
	fmt.Fprint(&b, gunicornEnvironment(s))
	return []File{{Text: b.String()}}, nil
}

// gunicornSetting is an option of the command line as a line of the file. An option
// without a value turns something on, or off where it says so.
func gunicornSetting(option, value string, has bool) string {
	name := settingOf[option]
	if name == "" {
		name = strings.ReplaceAll(option, "-", "_")
	}
	if !has {
		if off, is := strings.CutPrefix(name, "no_"); is {
			return off + " = False"
		}
		return name + " = True"
	}
	if number, err := strconv.Atoi(value); err == nil && strconv.Itoa(number) == value {
		return fmt.Sprintf("%s = %d", name, number)
	}
	return fmt.Sprintf("%s = %s", name, pythonText(value))
}

// gunicornEnvironment is what the app is given. What is not recorded has to be in the
// environment that gunicorn starts with.
func gunicornEnvironment(s stacks.Service) string {
	var b strings.Builder
	var secret []string
	for _, v := range environment(s) {
		if v.secret {
			secret = append(secret, v.name)
			continue
		}
		if b.Len() == 0 {
			b.WriteString("raw_env = [\n")
		}
		fmt.Fprintf(&b, "    %s,\n", pythonText(v.name+"="+v.value))
	}
	if b.Len() > 0 {
		b.WriteString("]\n")
	}
	if len(secret) > 0 {
		fmt.Fprintf(&b, "# Has to be in gunicorn's environment, and is not recorded: %s\n", strings.Join(secret, ", "))
	}
	return b.String()
}
