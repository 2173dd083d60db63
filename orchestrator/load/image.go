package load

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"math/rand/v2"
	"sync"
)

// jpegQuality and the noise below are chosen so that an image of 640×480
// pixels takes 50 to 200 KB, as a camera's would.
const (
	jpegQuality = 88
	imageNoise  = 24 // of 256 brightness levels, peak to peak
	imageShapes = 14 // ellipses and boxes on an image
)

// Images are those that a client has drawn, for all its batches: a dozen take as long
// as a small cell. Only the first keptImages bytes are kept. The zero value is ready. It
// is safe for concurrent use.
type Images struct {
	mu   sync.Mutex
	kept map[picture][]byte
	size int // bytes
}

const keptImages = 64 << 20

// A picture says what a generated image shows.
type picture struct {
	width, height int
	seed, index   uint64
}

// jpeg returns an image. Do not write to its bytes.
func (i *Images) jpeg(of picture) []byte {
	i.mu.Lock()
	defer i.mu.Unlock()
	if data, drawn := i.kept[of]; drawn {
		return data
	}
	data := of.draw()
	if i.kept == nil {
		i.kept = map[picture][]byte{}
	}
	if i.size+len(data) <= keptImages {
		i.kept[of] = data
		i.size += len(data)
	}
	return data
}

// draw draws the index-th image of a seed: a colour gradient with soft
// waves, shapes with hard edges over it, and noise over everything. It gives a
// decoder, a resizer and a network as much work as a photograph.
func (p picture) draw() []byte {
	random := rand.New(rand.NewPCG(p.seed, p.index))
	img := image.NewYCbCr(image.Rect(0, 0, p.width, p.height), image.YCbCrSubsampleRatio420)
	drawBackground(img, random)
	for range imageShapes {
		drawShape(img, random)
	}
	addNoise(img, random)
	var out bytes.Buffer
	// A side of more than 65,535 pixels is the only error.
	_ = jpeg.Encode(&out, img, &jpeg.Options{Quality: jpegQuality})
	return out.Bytes()
}

// drawBackground fills the image with a gradient between two colours and two waves
// of brightness.
func drawBackground(img *image.YCbCr, random *rand.Rand) {
	width, height := img.Rect.Dx(), img.Rect.Dy()
	angle := random.Float64() * 2 * math.Pi
	dx, dy := math.Cos(angle)/float64(width), math.Sin(angle)/float64(height)
	from, to := randomColor(random), randomColor(random)
	waveX, waveY := 2+6*random.Float64(), 2+6*random.Float64()
	share := func(x, y int) float64 {
		return 0.5 + 0.5*(dx*float64(2*x-width)+dy*float64(2*y-height))/math.Sqrt2
	}
	mix := func(a, b uint8, t float64) uint8 { return clampLevel(float64(a) + (float64(b)-float64(a))*t) }
	for y := range height {
		rowWave := 12 * math.Sin(waveY*math.Pi*float64(y)/float64(height))
		for x := range width {
			level := float64(mix(from.Y, to.Y, share(x, y)))
			level += rowWave + 12*math.Sin(waveX*math.Pi*float64(x)/float64(width))
			img.Y[img.YOffset(x, y)] = clampLevel(level)
		}
	}
	for y := 0; y < height; y += 2 {
		for x := 0; x < width; x += 2 {
			at := img.COffset(x, y)
			img.Cb[at] = mix(from.Cb, to.Cb, share(x, y))
			img.Cr[at] = mix(from.Cr, to.Cr, share(x, y))
		}
	}
}

// drawShape puts one ellipse or box of one colour somewhere on the image.
func drawShape(img *image.YCbCr, random *rand.Rand) {
	width, height := img.Rect.Dx(), img.Rect.Dy()
	centreX, centreY := random.IntN(width), random.IntN(height)
	halfX := 1 + random.IntN(max(width/6, 1))
	halfY := 1 + random.IntN(max(height/6, 1))
	ellipse := random.IntN(2) == 0
	paint := randomColor(random)
	for y := max(centreY-halfY, 0); y < min(centreY+halfY, height); y++ {
		for x := max(centreX-halfX, 0); x < min(centreX+halfX, width); x++ {
			u, v := float64(x-centreX)/float64(halfX), float64(y-centreY)/float64(halfY)
			if ellipse && u*u+v*v > 1 {
				continue
			}
			img.Y[img.YOffset(x, y)] = paint.Y
			at := img.COffset(x, y)
			img.Cb[at], img.Cr[at] = paint.Cb, paint.Cr
		}
	}
}

// addNoise adds the grain of a sensor to the brightness.
func addNoise(img *image.YCbCr, random *rand.Rand) {
	for i, level := range img.Y {
		// The sum of two is triangular, and so nearer to a sensor's noise than a flat one.
		grain := random.IntN(imageNoise/2+1) + random.IntN(imageNoise/2+1) - imageNoise/2
		img.Y[i] = clampLevel(float64(int(level) + grain))
	}
}

func randomColor(random *rand.Rand) color.YCbCr {
	y, cb, cr := color.RGBToYCbCr(uint8(random.IntN(256)), uint8(random.IntN(256)), uint8(random.IntN(256)))
	return color.YCbCr{Y: y, Cb: cb, Cr: cr}
}

func clampLevel(v float64) uint8 { return uint8(min(max(v, 0), 255)) }
