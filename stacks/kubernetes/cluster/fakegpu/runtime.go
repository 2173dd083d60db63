package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// inside is where containers have the fake driver's folder.
const inside = "/fake-gpu"

// tell has the fake driver answer for devices that are idle. What each line means is in
// the comment of its package, fakedriver.
func tell(state string, uuids []string) error {
	var b strings.Builder
	b.WriteString("driver 550.54-FAKE\n")
	for i, uuid := range uuids {
		fmt.Fprintf(&b, "device %s %d %d %d -1 FAKE GPU (no hardware)\n", uuid, 16<<30, 300<<20, 4<<20)
		fmt.Fprintf(&b, "telemetry %d 50 70000 250000 1000 1410 1215 40 0\n", i)
	}
	return os.WriteFile(filepath.Join(state, "devices"), []byte(b.String()), 0o644)
}

// runc becomes runc, whose container sees the fake driver if it names its devices. Where
// that is, is in the environment, which a command in the container gets anew.
func runc(state string, args []string) (err error) {
	following := func(command, flag string) (string, bool) {
		at := slices.Index(args, flag)
		return args[min(at+1, len(args)-1)], at >= 0 && slices.Contains(args, command)
	}
	if bundle, is := following("create", "--bundle"); is {
		err = edit(filepath.Join(bundle, "config.json"), func(config map[string]any) {
			if process, is := config["process"].(map[string]any); is && addEnvironment(process) {
				addMounts(config, state)
			}
		})
	} else if file, is := following("exec", "--process"); is {
		err = edit(file, func(process map[string]any) { addEnvironment(process) })
	}
	if err != nil {
		return err
	}
	program, err := exec.LookPath("runc")
	if err != nil {
		return err
	}
	return syscall.Exec(program, append([]string{"runc"}, args...), os.Environ())
}

// edit changes a file in JSON.
func edit(file string, change func(map[string]any)) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var content map[string]any
	numbers := json.NewDecoder(bytes.NewReader(text))
	numbers.UseNumber()
	if err := numbers.Decode(&content); err != nil {
		return err
	}
	change(content)
	if text, err = json.Marshal(content); err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o644)
}

// addEnvironment reports whether a process names the devices that it sees, and tells it
// of the fake driver.
func addEnvironment(process map[string]any) bool {
	env, _ := process["env"].([]any)
	for _, one := range env {
		if devices, is := strings.CutPrefix(fmt.Sprint(one), visible+"="); is && devices != "" && devices != "void" {
			process["env"] = append(env, "STACKMETER_FAKE_GPU="+inside, "FAKE_DEVICES="+devices)
			return true
		}
	}
	return false
}

func addMounts(config map[string]any, state string) {
	mounts, _ := config["mounts"].([]any)
	for source, target := range map[string]string{state: inside, filepath.Join(state, "libnvidia-ml.so.1"): "/usr/lib/libnvidia-ml.so.1"} {
		mounts = append(mounts, map[string]any{"source": source, "destination": target, "type": "bind", "options": []string{"rbind", "rw"}})
	}
	config["mounts"] = mounts
}
