package container

import (
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"stackmeter/scenarios/folder"
	"stackmeter/scenarios/show"
	"stackmeter/scenarios/units"
	"stackmeter/scenarios/yamlfile"
)

// Bounds of what a scenario can say.
const (
	leastPIDs, mostPIDs = 16, 16384 // the most is half of the kernel's usual kernel.pid_max
	leastSize, mostSize = 64 << 10, 64 << 40
	mostEntries         = 16 // of a mapping or list
)

const (
	unlimited = "unlimited"
	userRule  = "a user of the image or a number, and a group behind a colon where one is needed: svc, 1000:1000"
	pathRule  = "an absolute path in the container, such as /tmp, but not / itself, /proc, /sys or /dev"
)

var (
	validUser = matching(`[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,31})?`)
	plainPath = matching(`(/[A-Za-z0-9._@+-]+)+`)
)

// matching reports whether a whole text has a form.
func matching(pattern string) func(string) bool {
	return regexp.MustCompile(`^(?:` + pattern + `)$`).MatchString
}

// plain reports whether a path is absolute, and neither has odd characters nor ways
// back.
func plain(s string) bool { return len(s) <= 255 && plainPath(s) && path.Clean(s) == s }

// validPath is for what a container may get at a path of its own.
func validPath(s string) bool {
	return plain(s) && !slices.Contains([]string{"proc", "sys", "dev"}, strings.Split(s, "/")[1])
}

// defaultCapabilities are those that Docker gives a container unless it is told
// otherwise, and all that a scenario may ask for: more than an ordinary container
// has is not its to give.
//
// https://docs.docker.com/engine/containers/run/#runtime-privilege-and-linux-capabilities
func defaultCapabilities() []string {
	return []string{"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"}
}

// Fields are the keys of the options in an object of a scenario. what goes before
// their names in messages: "app.", "a topology's ". home finds mounts.
func Fields(f *yamlfile.File, what string, home folder.Folder, o *Options) []yamlfile.Field {
	r := reader{f, what}
	return []yamlfile.Field{
		yamlfile.Key("user", func(n *yaml.Node) { f.Checked(n, what+"user", &o.User, validUser, userRule) }),
		yamlfile.Key("capabilities", func(n *yaml.Node) { r.capabilities(n, &o.Capabilities) }),
		yamlfile.Key("workdir", func(n *yaml.Node) {
			f.Checked(n, what+"workdir", &o.Workdir, func(s string) bool { return s == "/" || plain(s) }, "an absolute path in the container, such as /srv/app")
		}),
		yamlfile.Key("entrypoint", func(n *yaml.Node) { r.entrypoint(n, &o.Entrypoint) }),
		yamlfile.Key("init", func(n *yaml.Node) { o.Init = r.boolean(n, "init") }),
		yamlfile.Key("pids", func(n *yaml.Node) { f.Integer(n, what+"pids", &o.PIDs, leastPIDs, mostPIDs) }),
		yamlfile.Key("ulimits", func(n *yaml.Node) { r.ulimits(n, &o.Ulimits) }),
		yamlfile.Key("shm_size", func(n *yaml.Node) { o.ShmSize = r.size(n, "shm_size") }),
		yamlfile.Key("read_only", func(n *yaml.Node) { o.ReadOnly = r.boolean(n, "read_only") }),
		yamlfile.Key("tmpfs", func(n *yaml.Node) { r.tmpfs(n, &o.Tmpfs) }),
		yamlfile.Key("mounts", func(n *yaml.Node) { r.mounts(n, home, &o.Mounts) }),
	}
}

type reader struct {
	*yamlfile.File
	what string
}

func (r reader) capabilities(n *yaml.Node, into *[]string) {
	all := defaultCapabilities()
	for _, item := range r.List(n, r.what+"capabilities", len(all)) {
		var name string
		if !r.Choice(item, r.what+"capabilities", &name, all...) {
			continue
		}
		if slices.Contains(*into, name) {
			r.Problem(item, "remove one of them", "%scapabilities has %s twice", r.what, name)
			continue
		}
		*into = append(*into, name)
	}
	slices.Sort(*into)
}

func (r reader) boolean(n *yaml.Node, key string) *bool {
	value := false
	if !r.Boolean(n, r.what+key, &value) {
		return nil
	}
	return &value
}

func (r reader) size(n *yaml.Node, key string) int64 {
	bytes, _ := r.QuantityIn(n, r.what+key, units.Bytes, leastSize, mostSize)
	return int64(bytes)
}

func (r reader) entrypoint(n *yaml.Node, into *[]string) {
	if n.Kind != yaml.SequenceNode {
		r.Problem(n, "for example [tini, --], or [] for none", "%sentrypoint must be a list, not %s", r.what, yamlfile.Describe(n))
		return
	}
	*into = []string{}
	if len(n.Content) == 0 {
		return
	}
	for _, item := range r.List(n, r.what+"entrypoint", 64) {
		var text string
		if r.Written(item, r.what+"entrypoint", &text) {
			*into = append(*into, text)
		}
	}
}

// mapping checks that a node is a mapping of a few entries.
func (r reader) mapping(n *yaml.Node, key, example string) bool {
	switch entries := len(n.Content) / 2; {
	case n.Kind != yaml.MappingNode:
		r.Problem(n, example, "%s%s must be a mapping, not %s", r.what, key, yamlfile.Describe(n))
	case entries == 0 || entries > mostEntries:
		r.Problem(n, example, "%s%s must have from 1 to %d entries, not %d", r.what, key, mostEntries, entries)
	default:
		return true
	}
	return false
}

func (r reader) tmpfs(n *yaml.Node, into *map[string]int64) {
	if !r.mapping(n, "tmpfs", "for example {/tmp: 64MiB}") {
		return
	}
	*into = map[string]int64{}
	for key, value := range yamlfile.Pairs(n) {
		if !validPath(key.Value) {
			r.Problem(key, pathRule, "%stmpfs cannot be at %s", r.what, show.Quote(key.Value))
			continue
		}
		(*into)[key.Value] = r.size(value, "tmpfs."+key.Value)
	}
}

func (r reader) mounts(n *yaml.Node, home folder.Folder, into *[]Mount) {
	what := r.what + "mounts"
	for _, item := range r.List(n, what, mostEntries) {
		var m Mount
		r.Object(item, "mount", what,
			yamlfile.Needed("from", "add from: FOLDER", func(n *yaml.Node) {
				var name string
				if !r.Text(n, what+".from", &name) {
					return
				}
				real, err := home.Mount(name, r.Given(n))
				if err != nil {
					r.Problem(n, folder.MountHint(err), "%s: %v", what, err)
				}
				m.From = real
			}),
			yamlfile.Needed("to", "add to: /PATH", func(n *yaml.Node) { r.Checked(n, what+".to", &m.To, validPath, pathRule) }),
		)
		*into = append(*into, m)
	}
}

func (r reader) ulimits(n *yaml.Node, into *map[string]Ulimit) {
	if !r.mapping(n, "ulimits", "for example {nofile: 65536, memlock: unlimited, core: 0}") {
		return
	}
	known := limits()
	*into = map[string]Ulimit{}
	for key, value := range yamlfile.Pairs(n) {
		limit, is := known[key.Value]
		if !is {
			r.Problem(key, show.Suggest(key.Value, slices.Sorted(maps.Keys(known))), "%sulimits has no %s that a scenario can set", r.what, show.Quote(key.Value))
			continue
		}
		what := r.what + "ulimits." + key.Value
		var u Ulimit
		if value.Kind != yaml.MappingNode {
			u.Soft = r.ulimit(value, what, limit)
			u.Hard = u.Soft
		} else {
			o, ok := r.Object(value, "ulimit", what,
				yamlfile.Needed("soft", "add soft: LIMIT", func(n *yaml.Node) { u.Soft = r.ulimit(n, what+".soft", limit) }),
				yamlfile.Needed("hard", "add hard: LIMIT", func(n *yaml.Node) { u.Hard = r.ulimit(n, what+".hard", limit) }),
			)
			if ok && o.Has("soft") && o.Has("hard") && u.Hard != endless && (u.Soft == endless || u.Soft > u.Hard) {
				r.Problem(value, "a soft limit is at most the hard one", "%s has a soft limit of %s above the hard one of %s", what, format(limit.unit, u.Soft), format(limit.unit, u.Hard))
			}
		}
		(*into)[key.Value] = u
	}
}

// ulimit reads one value of a limit.
func (r reader) ulimit(n *yaml.Node, what string, limit limit) int64 {
	switch {
	case n.Value == unlimited && limit.most == endless:
		return endless
	case n.Value == "0" && limit.unit == units.Bytes:
		return 0
	case limit.unit == units.None:
		value, most := 0, limit.most
		if most == endless {
			most = 1 << 31
		}
		r.Integer(n, what, &value, 1, int(most))
		return int64(value)
	}
	most := limit.most
	if most == endless {
		most = mostSize
	}
	bytes, _ := r.QuantityIn(n, what, units.Bytes, 1, float64(most))
	return int64(bytes)
}
