package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// asked is the only thing that query knows.
const asked = "--query-gpu=uuid,memory.used,memory.total,utilization.gpu --format=csv,noheader,nounits --loop-ms="

// query says what is in use on the devices of the container, until nobody reads it.
func query(args []string) error {
	pause, is := strings.CutPrefix(strings.Join(args, " "), asked)
	every, err := strconv.Atoi(pause)
	if err != nil || !is {
		return fmt.Errorf("a fake nvidia-smi knows %sNUMBER", asked)
	}
	for {
		for uuid := range strings.SplitSeq(os.Getenv(visible), ",") {
			used, total, err := inUse(uuid)
			if err != nil {
				return err
			}
			if _, err := fmt.Printf("%s, %d, %d, 50\n", uuid, used>>20, total>>20); err != nil {
				return err
			}
		}
		time.Sleep(time.Duration(every) * time.Millisecond)
	}
}

// inUse is what is in use on a device of the fake driver, and what it has.
func inUse(uuid string) (used, total int64, err error) {
	text, err := os.ReadFile(filepath.Join(inside, "devices"))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(text)) {
		var reserved int64
		if n, _ := fmt.Sscanf(line, "device "+uuid+" %d %d %d", &total, &reserved, &used); n == 3 {
			break
		}
	}
	if total == 0 {
		return 0, 0, fmt.Errorf("there is no device %s", uuid)
	}
	files, err := filepath.Glob(filepath.Join(inside, "alloc", "*"))
	for _, name := range files {
		held, err := heldBy(name, uuid)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return 0, 0, err
		}
		used += held
	}
	return used, total, err
}

// heldBy is what the process of a file holds on a device. One that has ended has no lock
// on it any more.
func heldBy(name, uuid string) (held int64, err error) {
	file, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	lock := syscall.Flock_t{Type: syscall.F_RDLCK, Whence: io.SeekStart}
	if err := syscall.FcntlFlock(file.Fd(), syscall.F_GETLK, &lock); err != nil || lock.Type == syscall.F_UNLCK {
		return 0, err
	}
	text, err := io.ReadAll(file)
	if fields := strings.Fields(string(text)); len(fields) >= 2 && fields[0] == uuid {
		held, err = strconv.ParseInt(fields[1], 10, 64)
	}
	return held, err
}
