package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const faultsPage = "../../orchestrator/FAULTS.md"

var (
	faultRow  = regexp.MustCompile(`^\| (\d+) \| .* \|(.*)\|$`)
	faultTest = regexp.MustCompile("`(Test(Fault|Threat)(\\d+)\\w*)`")
	faultFunc = regexp.MustCompile(`(?m)^func (Test(?:Fault|Threat)\d+\w*)\(`)
)

// TestPageOfFaults holds the page to the tests: each fault and threat is a row,
// each test that a row names is there and is one of that row's, and each such
// test is named.
func TestPageOfFaults(t *testing.T) {
	page, err := os.ReadFile(faultsPage)
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	rows := map[string]bool{}
	kind := ""
	for line := range strings.Lines(string(page)) {
		line = strings.TrimSpace(line)
		if heading, is := strings.CutPrefix(line, "## "); is {
			kind = strings.TrimSuffix(heading, "s")
		}
		row := faultRow.FindStringSubmatch(line)
		if row == nil {
			continue
		}
		if rows[kind+row[1]] {
			t.Errorf("%s %s has two rows", kind, row[1])
		}
		rows[kind+row[1]] = true
		own := 0
		for _, test := range faultTest.FindAllStringSubmatch(row[2], -1) {
			named[test[1]] = true
			if test[2] == kind && strings.TrimLeft(test[3], "0") == row[1] {
				own++
			}
		}
		if own == 0 {
			t.Errorf("%s %s has no test of its own", kind, row[1])
		}
	}
	for kind, last := range map[string]int{"Fault": 32, "Threat": 8} {
		for n := 1; n <= last; n++ {
			if !rows[fmt.Sprint(kind, n)] {
				t.Errorf("%s %d has no row", kind, n)
			}
		}
	}
	there := map[string]bool{}
	err = filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, test := range faultFunc.FindAllSubmatch(source, -1) {
			there[string(test[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range sortedSet(named) {
		if !there[name] {
			t.Errorf("%s is on the page, and there is no such test", name)
		}
	}
	for _, name := range sortedSet(there) {
		if !named[name] {
			t.Errorf("%s is not on the page", name)
		}
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil || !bytes.Contains(readme, []byte("(orchestrator/FAULTS.md)")) {
		t.Errorf("README.md does not link the page (%v)", err)
	}
}

func sortedSet(set map[string]bool) []string {
	var names []string
	for name := range set {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
