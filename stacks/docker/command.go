package docker

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"

	"stackmeter/stacks"
)

// Exit statuses of a shell, and of the init process, that tell of a command which
// could not be run: https://www.gnu.org/software/bash/manual/html_node/Exit-Status.html
const (
	exitMisused  = 2 // also of a shell that was given a file of another kind
	exitCannot   = 126
	exitNotFound = 127
)

// ending says how a service's container ended, and what to do if its command
// could not be run.
func (st *stack) ending(ctx context.Context, c container.InspectResponse) error {
	switch code := c.State.ExitCode; {
	case c.State.OOMKilled:
		return stacks.Exited(code, true)
	case c.State.Error != "":
		return fmt.Errorf("did not start: %s", c.State.Error)
	case code == 0:
		return fmt.Errorf("exited with status 0: its command %q ended by itself; a service has to stay in the foreground (without --daemon or &)", c.Path)
	case code == exitMisused || code == exitCannot || code == exitNotFound:
		why := st.commandFault(ctx, c)
		switch {
		case why != "":
		case code == exitNotFound:
			why = fmt.Sprintf("its command %q is there, but what that runs is not in the image", c.Path)
		case code == exitCannot:
			why = fmt.Sprintf("its command %q can be run, but not what that runs: it may lack chmod +x, or be for another processor", c.Path)
		default:
			return fmt.Errorf("exited with status %d", code)
		}
		return fmt.Errorf("exited with status %d: %s", code, why)
	}
	return stacks.Exited(c.State.ExitCode, false)
}

// headSize is how much of a program is looked at, in bytes: a script's first line,
// or an ELF file's header with the name of its loader.
const headSize = 4096

// commandFault says why the file that a container's command names cannot be run,
// and the remedy. It is empty if the file is sound, or the engine does not show it.
func (st *stack) commandFault(ctx context.Context, c container.InspectResponse) string {
	name, mode, err := st.program(ctx, c, c.Path)
	switch {
	case err != nil:
		return ""
	case name == "":
		for _, s := range st.spec.Services {
			if s.Debian != "" && s.Command[0] == c.Path {
				return fmt.Sprintf("its command %q is not in the image; install it there: apt-get install %s, or pip install %s", c.Path, s.Debian, cmp.Or(s.Module, c.Path))
			}
		}
		return fmt.Sprintf("its command %q is not in the image; correct the topology's command, or install the program", c.Path)
	case mode.IsDir():
		return name + ", its command, is a folder: name the program in it"
	case mode&0o111 == 0:
		return fmt.Sprintf("%s, its command, may not be executed: RUN chmod +x %s in the Dockerfile, or name its interpreter in the command, such as [python3, %s]", name, name, name)
	}
	head, err := st.head(ctx, c.ID, name)
	if err != nil {
		return ""
	}
	if bytes.HasPrefix(head, []byte(elf.ELFMAG)) {
		return st.binaryFault(ctx, c, name, head)
	}
	line, script := strings.CutPrefix(strings.SplitN(string(head), "\n", 2)[0], "#!")
	words := strings.Fields(line)
	switch {
	case !script || len(words) == 0:
		return name + ", its command, is no program of this kind of machine and has no #! line that names its interpreter: let its very first line be #!/bin/sh, or what it is written for"
	case strings.HasSuffix(line, "\r"):
		return fmt.Sprintf(`%s, its command, has the line ends of Windows (CRLF), so that its interpreter is %q: RUN sed -i 's/\r$//' %s in the Dockerfile, and "* text=auto eol=lf" in .gitattributes`, name, "#!"+line, name)
	case path.Base(words[0]) == "env" && len(words) > 1:
		words = words[1:]
	}
	if found, _, err := st.program(ctx, c, words[0]); found == "" && err == nil && !strings.HasPrefix(words[0], "-") {
		return fmt.Sprintf("%s, its command, asks for the interpreter %s, which is not in the image: install it, or correct the #! line", name, words[0])
	}
	return ""
}

// binaryFault says why a program cannot be run, from the beginning of its file.
func (st *stack) binaryFault(ctx context.Context, c container.InspectResponse, name string, head []byte) string {
	version, err := st.runtime.version(ctx)
	if err != nil || len(head) < 64 {
		return ""
	}
	// The sections are at the end of the file, and are not needed.
	if elf.Class(head[elf.EI_CLASS]) == elf.ELFCLASS64 {
		clear(head[40:48])
		clear(head[58:64])
	} else {
		clear(head[32:36])
		clear(head[46:52])
	}
	file, err := elf.NewFile(bytes.NewReader(head))
	if err != nil {
		return ""
	}
	arch := map[elf.Machine]string{elf.EM_X86_64: "amd64", elf.EM_AARCH64: "arm64", elf.EM_386: "386", elf.EM_ARM: "arm", elf.EM_PPC64: "ppc64le", elf.EM_S390: "s390x", elf.EM_RISCV: "riscv64"}[file.Machine]
	if !runs(arch, version.Arch) {
		return fmt.Sprintf("%s, its command, is for %s, and the engine's processor is %s: build it for this one", name, arch, version.Arch)
	}
	for _, p := range file.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		loader, err := io.ReadAll(p.Open())
		at := strings.TrimRight(string(loader), "\x00")
		if found, _, missing := st.program(ctx, c, at); err == nil && missing == nil && found == "" {
			return fmt.Sprintf("%s, its command, needs %s, which is not in the image: it was built for another C library (Debian's glibc, Alpine's musl); build it in this image, or without one (CGO_ENABLED=0)", name, at)
		}
	}
	return ""
}

// program finds a program in a container, which may have ended, as execvp does, and
// follows links. The name is empty if it is not there.
func (st *stack) program(ctx context.Context, c container.InspectResponse, name string) (found string, mode os.FileMode, err error) {
	places := []string{c.Config.WorkingDir}
	if !strings.Contains(name, "/") {
		places = strings.Split("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", ":")
		for _, variable := range c.Config.Env {
			if list, ok := strings.CutPrefix(variable, "PATH="); ok {
				places = strings.Split(list, ":")
			}
		}
	}
	for _, place := range places {
		at := name
		if !path.IsAbs(name) {
			at = path.Join("/", place, name)
		}
		stat, err := st.runtime.api.ContainerStatPath(ctx, c.ID, at)
		for links := 0; err == nil && stat.Mode&os.ModeSymlink != 0 && links < 8; links++ {
			at = stat.LinkTarget
			stat, err = st.runtime.api.ContainerStatPath(ctx, c.ID, at)
		}
		switch {
		case errdefs.IsNotFound(err):
		case err != nil:
			return "", 0, err
		case stat.Mode.IsRegular() && stat.Mode&0o111 != 0:
			return at, stat.Mode, nil
		case found == "":
			found, mode = at, stat.Mode
		}
	}
	return found, mode, nil
}

// head reads the beginning of a file in a container.
func (st *stack) head(ctx context.Context, id, name string) ([]byte, error) {
	body, _, err := st.runtime.api.CopyFromContainer(ctx, id, name)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	files := tar.NewReader(body)
	if _, err := files.Next(); err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(files, headSize))
}
