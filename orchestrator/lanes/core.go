package lanes

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"stackmeter/scenarios/units"
)

// A Core is one of a machine's logical cores.
type Core struct {
	ID       int
	Physical int // the lowest ID of those that are threads of the same physical core
	Node     int // its NUMA node
}

func (c Core) compare(o Core) int {
	return cmp.Or(cmp.Compare(c.Node, o.Node), cmp.Compare(c.Physical, o.Physical), cmp.Compare(c.ID, o.ID))
}

// Of says where cores are in their machine, as Linux describes it in a folder, which is
// /sys/devices/system:
// https://www.kernel.org/doc/html/latest/admin-guide/cputopology.html. What it does not
// say of a core is as on a machine with one node and no threads.
func Of(folder string, cores []int) []Core {
	all := make([]Core, len(cores))
	for i, id := range cores {
		all[i] = Core{ID: id, Physical: id}
		if siblings := listIn(filepath.Join(folder, "cpu", fmt.Sprintf("cpu%d", id), "topology", "thread_siblings_list")); len(siblings) > 0 {
			all[i].Physical = siblings[0]
		}
	}
	nodes, _ := filepath.Glob(filepath.Join(folder, "node", "node[0-9]*")) // the pattern is well-formed
	for _, path := range nodes {
		var node int
		if _, err := fmt.Sscanf(filepath.Base(path), "node%d", &node); err != nil {
			continue
		}
		for _, id := range listIn(filepath.Join(path, "cpulist")) {
			for i := range all {
				if all[i].ID == id {
					all[i].Node = node
				}
			}
		}
	}
	return all
}

// listIn is the list of cores in a file; nil if there is none.
func listIn(file string) []int {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	cores, err := units.ParseCpuset(strings.TrimSpace(string(text)))
	if err != nil {
		return nil
	}
	return cores
}
