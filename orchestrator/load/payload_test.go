package load

import (
	"bytes"
	"image/jpeg"
	"os"
	"path/filepath"
	"testing"

	"stackmeter/scenarios/wire"
)

func generatedRequest(width, height, count int, seed uint64) wire.Request {
	return wire.Request{Body: &wire.Body{
		Generate: &wire.Generate{Kind: "jpeg", Width: width, Height: height, Count: count, Seed: seed},
	}}
}

// A dozen images have a camera's size and differ from each other, and only the same
// seed makes the same images.
func TestGenerate(t *testing.T) {
	payloads, err := ReadPayloads(generatedRequest(640, 480, 12, 1), new(Images))
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
	again, err := ReadPayloads(generatedRequest(640, 480, 1, 1), new(Images))
	if err != nil || !bytes.Equal(again[0].Data, payloads[0].Data) {
		t.Errorf("the same seed gave another image (%v)", err)
	}
	other, err := ReadPayloads(generatedRequest(640, 480, 1, 2), new(Images))
	if err != nil || bytes.Equal(other[0].Data, payloads[0].Data) {
		t.Errorf("another seed gave the same image (%v)", err)
	}
}

// An image is drawn once, and as it would be drawn again. What has no room is drawn
// each time.
func TestImagesAreKept(t *testing.T) {
	drawn, request := new(Images), generatedRequest(64, 48, 2, 1)
	first, err := ReadPayloads(request, drawn)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range first {
		if !bytes.Equal(p.Data, picture{64, 48, 1, uint64(i)}.draw()) {
			t.Errorf("%s is another image", p.Name)
		}
	}
	drawnTwice := func(p picture) bool {
		first, again := drawn.jpeg(p), drawn.jpeg(p)
		return &first[0] != &again[0]
	}
	if drawnTwice(picture{64, 48, 1, 1}) || len(drawn.kept) != 2 {
		t.Errorf("an image is drawn again, and %d are kept", len(drawn.kept))
	}
	drawn.size = keptImages
	if !drawnTwice(picture{64, 48, 1, 2}) || len(drawn.kept) != 2 {
		t.Errorf("an image is kept where there is no room: %d are", len(drawn.kept))
	}
}

func TestGenerateSizes(t *testing.T) {
	for _, size := range [][2]int{{1, 1}, {7, 3}, {33, 17}} {
		p, err := ReadPayloads(generatedRequest(size[0], size[1], 1, 0), new(Images))
		if err != nil {
			t.Errorf("%v: %v", size, err)
			continue
		}
		if _, err := jpeg.Decode(bytes.NewReader(p[0].Data)); err != nil {
			t.Errorf("%v: %v", size, err)
		}
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
	got, err := ReadPayloads(wire.Request{Multipart: &wire.Multipart{Field: "f", Files: files}}, new(Images))
	if err != nil {
		t.Fatal(err)
	}
	want := []Content{
		{"b.jpg", "image/jpeg", []byte("b.jpg")},
		{"a.unknown", "application/octet-stream", []byte("a.unknown")},
	}
	for i, w := range want {
		if got[i].Name != w.Name || got[i].ContentType != w.ContentType || !bytes.Equal(got[i].Data, w.Data) {
			t.Errorf("payload %d is %+v, want %+v", i, got[i], w)
		}
	}
	none, err := ReadPayloads(wire.Request{}, new(Images))
	if err != nil || len(none) != 0 {
		t.Errorf("a request without a body has %d payloads, %v", len(none), err)
	}
}
