package threshold

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"stackmeter/scenarios/show"
	"stackmeter/scenarios/units"
)

var figures = Vocabulary{
	{"duration", units.Seconds}, {"throughput", units.PerSecond}, {"p99", units.Seconds}, {"errors", units.None},
	{"gpu_peak", units.Bytes}, {"rate", units.PerSecond},
}

func TestHolds(t *testing.T) {
	const mib = 1 << 20
	own := map[string]float64{"duration": 10.4, "p99": 1.5, "errors": 0, "gpu_peak": 4800 * mib, "throughput": 9.6}
	base := map[string]float64{"duration": 10, "p99": 2, "errors": 0, "gpu_peak": 4800 * mib, "throughput": 10}
	for text, want := range map[string]bool{
		"errors == 0":                                 true,
		"errors > 0":                                  false,
		"p99 < 2s":                                    true,
		"p99 < 1500ms":                                false,
		"p99 <= 1.5s":                                 true,
		"gpu_peak < 5000MiB":                          true,
		"gpu_peak < 4GiB":                             false,
		"gpu_peak > 4 GiB and errors < 1":             true,
		"gpu_peak > .5GiB or errors > 0":              true,
		"p99<1s 600 ms":                               true,
		"duration/10<1.05s":                           true,
		"gpu_peak == 4800MiB":                         true,
		"throughput >= 9/s":                           true,
		"duration < base * 1.05":                      true,
		"duration < base * 1.03":                      false,
		"duration < 1.05 * base":                      true,
		"duration < base * 105%":                      true,
		"duration / base < 1.05":                      true,
		"duration / base < 105%":                      true,
		"(duration - base) / base <= 5%":              true,
		"duration < base + 500ms":                     true,
		"duration < base + 300ms":                     false,
		"duration < base * 1.03 or p99 < base":        true,
		"duration < base * 1.03 and p99 < base":       false,
		"not (errors > 0) && p99 < base.p99 * 90%":    true,
		"errors <= base":                              true,
		"errors < 1 + 1":                              true,
		"p99 < base.duration":                         true,
		"gpu_peak <= base.gpu_peak and !(errors>0.5)": true,
		"duration > -1s":                              true,
		"1s < p99":                                    true,
		"duration < 1.04e1s + 1e-3s":                  true,
		"duration < 1m":                               true,
	} {
		threshold, err := figures.Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := threshold.Holds(own, base); err != nil || got != want {
			t.Errorf("%s is %v (%v), want %v", text, got, err, want)
		}
	}
}

// TestDividesByZero: without a value neither a comparison nor its
// opposite holds; one that decides alone is enough.
func TestDividesByZero(t *testing.T) {
	for text, want := range map[string]error{
		"errors / base.errors <= 1.05":                errNotFinite,
		"not (errors / base.errors > 1.05)":           errNotFinite,
		"duration * (p99 / base.p99) >= 1s":           errNotFinite,
		"p99 / base.p99 >= 95%":                       errNotFinite,
		"-(p99 / base.p99) < 1":                       errNotFinite,
		"errors == 0 or errors / base.errors <= 1.05": nil,
		"errors <= base.errors * 1.05":                nil,
	} {
		threshold, err := figures.Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		figures := map[string]float64{"errors": 0, "duration": 1, "p99": 1}
		holds, err := threshold.Holds(figures, map[string]float64{"errors": 0, "duration": 1, "p99": 0})
		if !errors.Is(err, want) || holds != (want == nil) {
			t.Errorf("%s is %v (%v), want %v", text, holds, err, want)
		}
	}
}

func TestNames(t *testing.T) {
	threshold, err := figures.Parse("duration < base * 1.05 and p99 < 2s and throughput > base.rate")
	if err != nil {
		t.Fatal(err)
	}
	if own := threshold.Own(); !slices.Equal(own, []string{"duration", "p99", "throughput"}) {
		t.Errorf("own figures %v", own)
	}
	if base := threshold.Base(); !slices.Equal(base, []string{"duration", "rate"}) {
		t.Errorf("the baseline's figures %v", base)
	}
	if _, err := threshold.Holds(map[string]float64{"duration": 1, "p99": math.NaN(), "throughput": 1}, map[string]float64{"duration": 1, "rate": 1}); err == nil || !strings.Contains(err.Error(), "the cell has no p99") {
		t.Errorf("a figure that was not measured: %v", err)
	}
	if _, err := threshold.Holds(map[string]float64{"duration": 1, "p99": 1, "throughput": 1}, nil); err == nil || !strings.Contains(err.Error(), "the baseline has no duration") {
		t.Errorf("no baseline: %v", err)
	}
}

func TestRefused(t *testing.T) {
	for _, test := range []struct {
		text   string
		column int
		want   string
	}{
		{"", 1, "empty"},
		{"p99", 1, "must be a comparison"},
		{"p98 < 2s", 1, `there is no figure "p98"`},
		{"errors == 0 and gpu_peek < 5GiB", 17, `did you mean "gpu_peak"`},
		{"p99 < 2", 7, `"2" has no unit; for seconds write 2s`},
		{"p99 < 2000MiB", 7, `"2000MiB" is a size, not a time`},
		{"p99 < gpu_peak", 5, "a time cannot be compared with a size"},
		{"gpu_peak < 5000MB", 16, `there is no unit "MB"; did you mean MiB?`},
		{"gpu_peak < 5000", 12, `"5000" has no unit; for example 512MiB`},
		{"duration + 5 < 10s", 12, `"5" has no unit; for seconds write 5s`},
		{"gpu_peak < 5GiB2", 12, `"5GiB2" is not a number with a unit`},
		{"é < 5 µx", 7, `there is no unit "µx"`},
		{"duration < base + 5%", 17, "of the baseline 5% more is base * 1.05"},
		{"errors < 5%", 8, "a number of errors cannot be compared with a percentage"},
		{"throughput > 10", 14, "for 10 each second write 10/s"},
		{"duration * duration < 4s", 10, "a time cannot be multiplied by a time"},
		{"duration + p99 < base * 2", 18, "write base.duration"},
		{"duration < base.speed", 17, `no figure "speed"`},
		{"duration < duration.base", 21, "only base has parts"},
		{"5 < 6", 3, "names no figure"},
		{"base < 2s", 1, "names no figure"},
		{"duration <", 10, "unexpected"},
		{"duration < (2s", 13, "unexpected"},
		{"duration ** 2 < 4", 10, `has no "**"`},
		{`duration < "2s"`, 12, "neither a figure nor a number"},
		{"len(duration) < 2", 1, "neither a figure"},
		{"duration matches '2'", 10, "must be a comparison"},
		{"duration < 2s ? true : false", 28, "must be a comparison"},
		{"{duration: 1}", 1, "must be a comparison"},
		{"duration < 2s and true", 19, "must be a comparison"},
		{"duration in [1]", 10, "must be a comparison"},
		{strings.Repeat("(", 400) + "duration < 1s", 1, ""},
		{strings.Repeat("p99 < 1s and ", 60) + "p99 < 1s", 1, "more than the limit"},
	} {
		threshold, err := figures.Parse(test.text)
		var wrong *Error
		if !errors.As(err, &wrong) {
			t.Errorf("%q: %v, %v", test.text, threshold, err)
			continue
		}
		if !strings.Contains(err.Error(), test.want) || test.want != "" && wrong.Column != test.column {
			t.Errorf("%q: %v, want column %d and %q", test.text, err, test.column, test.want)
		}
	}
}

// FuzzParse: no text makes it panic, and what is accepted can be evaluated
// and means the same when it is read again.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"errors == 0", "p99 < 2s and gpu_peak < 5000MiB", "duration < base * 1.05", "throughput >= 10/s or rate > base - 1/s",
		"(duration - base.duration) / base.duration <= 5%", "not (p99 > 1e3ms)", "1s < p99 < 2s", "errors < 1 ? 2 : 3", "p99 < 2 s", "\x00", "let x = 1; x", "0x1f < 2"} {
		f.Add(text)
	}
	values := map[string]float64{}
	for i, figure := range figures {
		values[figure.Name] = float64(i)
	}
	f.Fuzz(func(t *testing.T, text string) {
		threshold, err := figures.Parse(text)
		if err != nil {
			var wrong *Error
			if !errors.As(err, &wrong) || wrong.Column < 1 || wrong.Column > len([]rune(text))+1 || wrong.Message == "" {
				t.Fatalf("%q: %#v", text, err)
			}
			if show.Columns(err.Error()) != err.Error() {
				t.Fatalf("%q: not printable: %q", text, err)
			}
			return
		}
		if len(threshold.Own()) == 0 {
			t.Fatalf("%q names no figure", text)
		}
		first, failed := threshold.Holds(values, values)
		if failed != nil && !errors.Is(failed, errNotFinite) {
			t.Fatalf("%q: %v", text, failed)
		}
		again, err := figures.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if second, err := again.Holds(values, values); (err == nil) != (failed == nil) || second != first {
			t.Fatalf("%q is %v and then %v (%v)", text, first, second, err)
		}
	})
}
