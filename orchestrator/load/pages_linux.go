package load

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// leavePages unmaps what only the start of the program needed of the program's
// file, and lets the high-water mark of resident memory begin anew. stackmeter
// is forty megabytes, most of it the store, the reports and the engine's
// client; initialising them touches pages everywhere. A client process then
// uses little of it, and what it uses comes back from the page cache.
//
// Only pages that are still the file's are left: one that a relocation has
// changed would be lost.
func leavePages() error {
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	mappings, err := os.Open("/proc/self/smaps")
	if err != nil {
		return err
	}
	defer mappings.Close()
	var from, to uint64 // of the mapping that the lines are about; empty: one to be kept
	lines := bufio.NewScanner(mappings)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		switch {
		case len(fields) == 0:
		case fields[0] == "Anonymous:":
			if from < to && len(fields) > 1 && fields[1] == "0" {
				if err := leave(from, to); err != nil {
					return err
				}
			}
		case !strings.HasSuffix(fields[0], ":"):
			// A mapping's first line: addresses, rights, offset, device, inode, file.
			from, to = 0, 0
			first, last, _ := strings.Cut(fields[0], "-")
			if len(fields) < 6 || strings.Contains(fields[1], "w") || fields[5] != program {
				continue
			}
			if from, err = strconv.ParseUint(first, 16, 64); err != nil {
				return fmt.Errorf("/proc/self/smaps: %w", err)
			}
			if to, err = strconv.ParseUint(last, 16, 64); err != nil {
				return fmt.Errorf("/proc/self/smaps: %w", err)
			}
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	// proc_pid_clear_refs(5): 5 sets the high-water mark to what is resident now.
	return os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
}

// piece is the most that one page fault may bring back. The kernel maps all of
// a folio of the page cache at once (Linux 6.18), up to two megabytes for a
// function of some bytes, but nothing beyond a mapping's end.
const piece = 64 << 10

// leave unmaps the pages of a mapping and divides it into pieces: neighbours
// with different advice are different mappings.
func leave(from, to uint64) error {
	for at := from; at < to; at += 2 * piece {
		if err := advise(at, min(piece, to-at), unix.MADV_RANDOM); err != nil {
			return err
		}
	}
	return advise(from, to-from, unix.MADV_DONTNEED)
}

func advise(at, length uint64, advice int) error {
	if _, _, errno := unix.Syscall(unix.SYS_MADVISE, uintptr(at), uintptr(length), uintptr(advice)); errno != 0 {
		return os.NewSyscallError("madvise", errno)
	}
	return nil
}
