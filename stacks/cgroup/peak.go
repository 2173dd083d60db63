package cgroup

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// A peak is the kernel's high-water mark of a group from now on, page cache
// included. Where the kernel cannot begin a new one (version 2 before Linux
// 6.12) the mark of the group's whole life counts only once it rose.
type peak struct {
	group  Group
	file   *os.File // version 2: a write through it begins a mark that only it reads
	before int64    // the mark when it could not be begun anew
	reset  bool
}

func (g Group) peak() *peak {
	p := &peak{group: g}
	if g.Method == MethodV1 {
		p.reset = os.WriteFile(filepath.Join(g.memory, "memory.max_usage_in_bytes"), []byte("0"), 0) == nil
	} else if f, err := os.OpenFile(filepath.Join(g.memory, "memory.peak"), os.O_RDWR, 0); err == nil {
		p.file = f
		_, err := f.WriteString("reset\n")
		p.reset = err == nil
	}
	if !p.reset {
		p.before, _ = p.read()
	}
	return p
}

// stop returns the high-water mark in bytes, or nil when the kernel did not
// say.
func (p *peak) stop() *int64 {
	mark, err := p.read()
	if p.file != nil {
		p.file.Close()
	}
	if err != nil || !p.reset && mark <= p.before {
		return nil
	}
	return &mark
}

func (p *peak) read() (int64, error) {
	if p.group.Method == MethodV1 {
		return number(p.group.memory, "memory.max_usage_in_bytes")
	}
	if p.file == nil {
		return number(p.group.memory, "memory.peak")
	}
	buf := make([]byte, 32)
	n, err := p.file.ReadAt(buf, 0)
	if n == 0 {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(buf[:n])), 10, 64)
}
