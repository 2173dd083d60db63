// Guest is the only program of the image that the tests' own engine runs: a
// server that answers after 20 ms.
package main

import (
	"net/http"
	"time"
)

func main() {
	err := http.ListenAndServe(":8000", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(20 * time.Millisecond)
		_, _ = w.Write([]byte("ok"))
	}))
	if err != nil {
		panic(err)
	}
}
