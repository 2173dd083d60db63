// Guest is the only program of the image that the tests' own engine has: a
// server that answers after 20 ms. As nvidia-smi, where a test's hook puts it,
// it prints what the hook wrote and ends as the hook said.
package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	if filepath.Base(os.Args[0]) == "nvidia-smi" {
		smi()
		return
	}
	err := http.ListenAndServe(":8000", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(20 * time.Millisecond)
		_, _ = w.Write([]byte("ok"))
	}))
	if err != nil {
		panic(err)
	}
}

func smi() {
	says, err := os.ReadFile("/nvidia-smi.says")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Print(string(says))
	if strings.HasPrefix(string(says), "Failed") {
		os.Exit(255)
	}
}
