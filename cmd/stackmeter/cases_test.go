package main

import (
	"os"
	"strings"
	"testing"
)

// TestAttackCases: small inputs that something once got wrong. A row is an input, which
// is in the file "in", a command line, its exit status and a part of what it prints.
func TestAttackCases(t *testing.T) {
	scenario := func(change string) string {
		parts := map[string]string{"app": "{image: none, wsgi: 'wsgi:app'}", "topologies": "[flask]", "matrix": "{requests: [1], client: [single]}"}
		name, value, _ := strings.Cut(change, ": ")
		parts[name] = value
		text := "name: s\n"
		for name, value := range parts {
			text += name + ": " + value + "\n"
		}
		return text
	}
	headers := func(these string) string { return scenario("request: {path: /, headers: " + these + "}") }
	for name, row := range map[string]struct {
		in, line string
		status   int
		says     string
	}{
		"a header twice":                    {headers(`{X-A: "1", X-A: "2"}`), "plan in", exitUsage, `the key "X-A" is already in line`},
		"a header twice in other letters":   {headers(`{X-A: "1", x-a: "2"}`), "plan in", exitUsage, `the header "X-A" is already in line`},
		"a header that is a list":           {headers(`{X-A: ["1", "2"]}`), "plan in", exitUsage, "request.headers.X-A must be text, not a list"},
		"headers that are a list":           {headers(`[X-A: "1", X-A: "2"]`), "plan in", exitUsage, "request.headers must be a mapping, not a list"},
		"a header by --set too":             {headers(`{X-A: "1"}`), "plan in --set request.headers.x-a=2", exitUsage, `the header "X-A" is already in line`},
		"a header of two lines":             {headers(`{X-A: "1\nX-B: 2"}`), "plan in", exitUsage, "contains a control character"},
		"a header outside Latin-1":          {headers(`{X-A: "ü€"}`), "plan in --json", exitOK, `"headers"`},
		"white space around a header":       {headers(`{Accept: " text/plain\t"}`), "plan in", exitOK, "1 stack"},
		"a path with a space":               {scenario("request: {path: '/a b'}"), "plan in", exitUsage, "write a space as %20"},
		"a quantity in scientific notation": {scenario("resources: {memory: 1e3MiB, gpu: {mode: off}}"), "plan in", exitOK, "1 stack"},
		"a quantity with a space":           {scenario("resources: {memory: 2 GiB, gpu: {mode: off}}"), "plan in", exitOK, "1 stack"},
		"a quantity below 1":                {scenario("resources: {memory: .5GiB, gpu: {mode: off}}"), "plan in", exitOK, "1 stack"},
		"a quantity in a threshold":         {scenario("thresholds: ['memory_peak < .5 GiB']"), "plan in", exitOK, "1 stack"},
		"a quantity without a unit":         {scenario("thresholds: ['memory_peak < 512']"), "plan in", exitUsage, "memory_peak"},
		"cores that are not there":          {scenario("client: {cpuset: 1000}"), "run in", exitUsage, "client.cpuset has core 1000"},
		"cores of which one is not there":   {"", "load http://127.0.0.1:1/ --cpuset 0,1000", exitUsage, "client.cpuset has core 1000"},
		"a scenario without a file":         {"", "run", exitUsage, "which scenario?"},
		"a URL for a scenario":              {"", "run http://user:PASSWORD@host/", exitUsage, "http://…@host/"},
		"a URL for a store":                 {"", "report --db http://user:PASSWORD@host/s.db", exitUsage, "…@host"},
		"a URL for a run":                   {scenario("seed: 2"), "compare http://user:PASSWORD@host/ in", exitUsage, ""},
		"a text that looks like a number":   {scenario(`request: {path: /, method: POST, json: {id: "7"}}`), "plan in --json", exitOK, `"id": "7"`},
		"such a text that is expected":      {scenario(`request: {path: /, expect: {json: {id: "7"}}}`), "plan in --json", exitOK, `"id": "\"7\""`},
		"an expected value of nothing":      {"", "load http://127.0.0.1:1/ --expect-json id=", exitUsage, "it has no value"},
		"no JSON":                           {"{", "import in", exitUsage, "in"},
		"a result with negative errors":     {`{"schema": 1, "run": {"id": "a"}, "cells": [{"cell": "flask/single/n1", "topology": "flask", "requests": 1, "repeat": 1, "status": "ok", "duration_s": 1, "replies": 2, "errors": -1}]}`, "import in", exitUsage, "errors is -1: it cannot be below 0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			if err := os.WriteFile("in", []byte(row.in), 0o644); err != nil {
				t.Fatal(err)
			}
			status, printed := said(strings.Fields(row.line)...)
			if status != row.status || !strings.Contains(printed, row.says) || strings.Contains(printed, "PASSWORD") {
				t.Errorf("%s: exit status %d: %s", row.line, status, printed)
			}
		})
	}
}
