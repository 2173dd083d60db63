package lock

import (
	"fmt"
	"os"
)

// shared are the folders that every user of a machine can write to and in
// which nobody can remove what is another's, the best one first. A user's own
// runtime folder would not do: two users' runs would not see each other.
var shared = [...]string{"/run/lock", "/var/lock", "/tmp", "/var/tmp"}

// Folder is where the locks of this machine are. Every user finds the same
// one. Its error says what to do.
func Folder() (string, error) {
	if named := os.Getenv(FolderVariable); named != "" {
		if info, err := os.Stat(named); err != nil || !info.IsDir() {
			return "", fmt.Errorf("%s=%s: there is no such folder; make it, or unset the variable", FolderVariable, named)
		}
		return named, nil
	}
	for _, folder := range shared {
		info, err := os.Stat(folder)
		if err == nil && info.IsDir() && info.Mode()&os.ModeSticky != 0 && info.Mode().Perm() == 0o777 {
			return folder, nil
		}
	}
	return "", fmt.Errorf("none of %v is a folder that every user can lock a machine in; name one with %s", shared, FolderVariable)
}
