package docker

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"

	"stackmeter/scenarios"
	"stackmeter/stacks"
	"stackmeter/stacks/stackstest"
)

// elfFile is the beginning of a program for a processor (0: this one), with a loader
// if it is linked to libraries.
func elfFile(machine uint16, loader string) string {
	if machine == 0 {
		machine = map[string]uint16{"amd64": uint16(elf.EM_X86_64), "arm64": uint16(elf.EM_AARCH64)}[runtime.GOARCH]
	}
	header := elf.Header64{Type: uint16(elf.ET_EXEC), Machine: machine, Version: 1, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1}
	copy(header.Ident[:], elf.ELFMAG+"\x02\x01\x01")
	text := loader + "\x00"
	program := elf.Prog64{Type: uint32(elf.PT_INTERP), Off: 120, Filesz: uint64(len(text)), Memsz: uint64(len(text))}
	var file bytes.Buffer
	// Writing to a buffer cannot fail.
	_ = binary.Write(&file, binary.LittleEndian, header)
	_ = binary.Write(&file, binary.LittleEndian, program)
	return file.String() + text
}

// TestAttackCommandCannotRun: a command that cannot be run is explained by what it
// is, with the remedy, and not by an exit status alone.
func TestAttackCommandCannotRun(t *testing.T) {
	r := engine(t)
	b := contextOf(t, map[string]string{
		"crlf": "#!/bin/sh\r\necho hi\r\n", "envcrlf": "#!/usr/bin/env sh\r\n", "nointerp": "#!/opt/nosuch -u\n", "envnointerp": "#!/usr/bin/env nosuch\n",
		"noshebang": "case in the middle\n", "inner": "#!/bin/sh\nexec nosuch-inside\n", "inner126": "#!/bin/sh\nexec /etc/passwd\n", "done": "#!/bin/sh\n",
		// The beginnings of programs for another processor, and of one whose loader is not there.
		"elf":  elfFile(0xf3, ""), // RISC-V
		"musl": elfFile(0, "/lib/ld-nowhere.so.1"),
		"Dockerfile": "FROM " + BaseImage + "\nCOPY . /usr/local/bin/\nRUN cd /usr/local/bin && chmod +x crlf envcrlf nointerp envnointerp noshebang inner inner126 done elf musl && " +
			"echo '#!/bin/sh' >/data.py && chmod 644 /data.py && ln -s /usr/local/bin/crlf /link\n",
	})
	id, err := r.buildFolder(t.Context(), b, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	commands := map[string][]string{
		"crlf":        {"status 127: /usr/local/bin/crlf", "(CRLF)", `"#!/bin/sh\r"`, ".gitattributes"},
		"/link":       {"/usr/local/bin/crlf", "(CRLF)"},
		"envcrlf":     {"/usr/local/bin/envcrlf", "(CRLF)"},
		"nointerp":    {"interpreter /opt/nosuch,", "install it"},
		"envnointerp": {"interpreter nosuch,"},
		"noshebang":   {"no #! line", "#!/bin/sh"},
		"inner":       {`status 127: its command "inner" is there`},
		"inner126":    {`status 126: its command "inner126" can be run, but not what that runs`},
		"done":        {"status 0", "foreground"},
		"elf":         {"/usr/local/bin/elf", "is for riscv64", "build it for this one"},
		"musl":        {"needs /lib/ld-nowhere.so.1", "musl"},
		"/data.py":    {"status 126: /data.py", "may not be executed", "chmod +x"},
		"/etc":        {"status 126: /etc", "is a folder"},
		"nosuch":      {`status 127: its command "nosuch" is not in the image; correct the topology`},
		"uvicorn":     {`status 127: its command "uvicorn" is not in the image; install it there: apt-get install uvicorn, or pip`},
	}
	// One stack with a service for each command: a network of its own for each costs more.
	spec := stacks.Spec{Run: "test-command-" + filepath.Base(t.TempDir()), Name: "app"}
	var want [][]string
	for command, texts := range commands {
		want = append(want, texts)
		s := stacks.Service{Name: fmt.Sprint("s", len(want)), Role: stacks.RoleOther, Image: id, Command: []string{command}, Port: 8000}
		if command == "uvicorn" {
			s.Debian = "uvicorn" // as Expand says of servers
		}
		spec.Services = append(spec.Services, s)
	}
	st := &stack{runtime: r, spec: spec, id: stacks.RandomID(), services: make([]service, len(spec.Services))}
	defer st.Stop(context.Background())
	if err := st.createNetwork(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, s := range spec.Services {
		if err := st.create(t.Context(), i, s); err != nil {
			t.Fatal(err)
		}
		if err := r.api.ContainerStart(t.Context(), st.services[i].container, container.StartOptions{}); err != nil {
			t.Fatal(err)
		}
		if end := <-r.ended(t.Context(), st.services[i].container); end.err != nil {
			t.Fatal(end.err)
		}
		found, err := r.api.ContainerInspect(t.Context(), st.services[i].container)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range want[i] {
			if got := st.ending(t.Context(), found).Error(); !strings.Contains(got, text) {
				t.Errorf("%s: no %q in: %s", s.Command[0], text, got)
			}
		}
	}
	_, err = r.Start(t.Context(), stackstest.Spec(t, "test-user-"+filepath.Base(t.TempDir()), stackstest.Flask, func(p *scenarios.Plan) {
		p.App.Image, p.App.Build, p.App.User = id, nil, "nobody-here"
	}))
	if err == nil || !strings.Contains(err.Error(), "does not know the user") {
		t.Errorf("a user that is not there: %v", err)
	}
}
