package load

import (
	"bytes"
	"image/jpeg"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"stackmeter/scenarios"
)

func generatedRequest(width, height, count int, seed uint64) scenarios.Request {
	return scenarios.Request{Body: &scenarios.Body{
		Generate: &scenarios.Generate{Kind: "jpeg", Width: width, Height: height, Count: count, Seed: seed},
	}}
}

// A dozen images are real ones of a camera's size, differ, and are the same
// for the same seed only.
func TestGenerate(t *testing.T) {
	payloads, err := Payloads(generatedRequest(640, 480, 12, 1))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for _, p := range payloads {
		if n := len(p.Data); n < 50<<10 || n > 200<<10 {
			t.Errorf("%s has %d bytes, want 50 to 200 KB", p.Name, n)
		}
		if p.ContentType != "image/jpeg" {
			t.Errorf("%s is %s", p.Name, p.ContentType)
		}
		img, err := jpeg.Decode(bytes.NewReader(p.Data))
		if err != nil {
			t.Fatalf("%s: %v", p.Name, err)
		}
		if size := img.Bounds().Size(); size.X != 640 || size.Y != 480 {
			t.Errorf("%s is %v", p.Name, size)
		}
		if twin, ok := seen[string(p.Data)]; ok {
			t.Errorf("%s is the same as %s", p.Name, twin)
		}
		seen[string(p.Data)] = p.Name
	}
	again, err := Payloads(generatedRequest(640, 480, 1, 1))
	if err != nil || !bytes.Equal(again[0].Data, payloads[0].Data) {
		t.Errorf("the same seed gave another image (%v)", err)
	}
	other, err := Payloads(generatedRequest(640, 480, 1, 2))
	if err != nil || bytes.Equal(other[0].Data, payloads[0].Data) {
		t.Errorf("another seed gave the same image (%v)", err)
	}
}

func TestGenerateSizes(t *testing.T) {
	for _, size := range [][2]int{{1, 1}, {7, 3}, {33, 17}} {
		p, err := Payloads(generatedRequest(size[0], size[1], 1, 0))
		if err != nil {
			t.Errorf("%v: %v", size, err)
			continue
		}
		if _, err := jpeg.Decode(bytes.NewReader(p[0].Data)); err != nil {
			t.Errorf("%v: %v", size, err)
		}
	}
	for _, size := range [][2]int{{0, 1}, {1, -1}, {1 << 20, 1}} {
		if _, err := Payloads(generatedRequest(size[0], size[1], 1, 0)); err == nil {
			t.Errorf("%v was generated", size)
		}
	}
	if _, err := Payloads(generatedRequest(1, 1, 0, 0)); err == nil {
		t.Error("none were generated")
	}
}

func TestPayloadsFromFiles(t *testing.T) {
	folder := t.TempDir()
	var files []string
	for _, name := range []string{"b.jpg", "a.unknown"} {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, path)
	}
	got, err := Payloads(scenarios.Request{Multipart: &scenarios.Multipart{Field: "f", Files: files}})
	if err != nil {
		t.Fatal(err)
	}
	want := []Payload{
		{"b.jpg", "image/jpeg", []byte("b.jpg")},
		{"a.unknown", "application/octet-stream", []byte("a.unknown")},
	}
	for i, w := range want {
		if got[i].Name != w.Name || got[i].ContentType != w.ContentType || !bytes.Equal(got[i].Data, w.Data) {
			t.Errorf("payload %d is %+v, want %+v", i, got[i], w)
		}
	}
	none, err := Payloads(scenarios.Request{})
	if err != nil || len(none) != 0 {
		t.Errorf("a request without a body has %d payloads, %v", len(none), err)
	}
}

// TestFilesAreNotHeld: what Prepare takes of the heap does not grow with the
// size of a file, sent as it is or in a form.
func TestFilesAreNotHeld(t *testing.T) {
	const size, most = 32 << 20, 4 << 20 // bytes
	file := filepath.Join(t.TempDir(), "large.bin")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, size); err != nil {
		t.Fatal(err)
	}
	for name, request := range map[string]scenarios.Request{
		"body": {Body: &scenarios.Body{Files: []string{file}}},
		"form": {Multipart: &scenarios.Multipart{Field: "f", Files: []string{file}}},
	} {
		request.Method, request.Path = "POST", "/"
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		b, err := new(Client).Prepare(t.Context(), Job{URL: "http://127.0.0.1:1", Request: request, Load: scenarios.LoadSpec{Requests: 1, Client: "single", Pool: 1}})
		runtime.ReadMemStats(&after)
		if err != nil {
			t.Fatal(err)
		}
		if got := b.arena.spans[0].Length; got <= size {
			t.Errorf("%s: the request has %d bytes", name, got)
		}
		b.Close()
		if taken := after.TotalAlloc - before.TotalAlloc; taken > most {
			t.Errorf("%s: %d bytes of the heap for a file of %d", name, taken, size)
		}
	}
}

// TestFileThatChanges: a file that is not as long as it was is an error, and no
// request that says another length than it has.
func TestFileThatChanges(t *testing.T) {
	a, err := newArena(1, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	for _, size := range []int64{3, 5} {
		if err := a.add("", size, strings.NewReader("1234")); err == nil || !strings.Contains(err.Error(), "4 bytes instead of") || len(a.spans) != 0 {
			t.Errorf("%d bytes expected of 4: %v", size, err)
		}
	}
}
