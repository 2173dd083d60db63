//go:build linux

package process

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"stackmeter/stacks"
)

// leftovers lists what exists of a run: records, what they name, and processes
// that carry the run's mark.
func (r *Runtime) leftovers(_ context.Context, run string) ([]string, error) {
	var list []string
	for _, folder := range existing(r.folders) {
		records, err := readRecords(folder)
		if err != nil {
			return list, err
		}
		for file, rec := range records {
			if rec.Run != run {
				continue
			}
			list = append(list, "record "+file)
			for _, dir := range append(slices.Clone(rec.Groups), rec.Temp) {
				if _, err := os.Stat(dir); dir != "" && err == nil {
					list = append(list, dir)
				}
			}
		}
		parts, err := filepath.Glob(filepath.Join(folder, "*.part"))
		if err != nil {
			return list, err
		}
		list = append(list, parts...)
	}
	for _, m := range everyone() {
		if !m.zombie && slices.Contains(environOf(m.PID), markRun+"="+run) {
			list = append(list, fmt.Sprintf("process %d (%s)", m.PID, strings.TrimSpace(stacks.CommandLine(m.PID))))
		}
	}
	slices.Sort(list)
	return list, nil
}
