package units

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	for _, test := range []struct {
		text string
		unit Unit
		want float64
	}{
		{"2s", Seconds, 2}, {"500ms", Seconds, 0.5}, {"250us", Seconds, 250e-6}, {"250µs", Seconds, 250e-6}, {"250μs", Seconds, 250e-6}, {"7ns", Seconds, 7e-9},
		{"1m", Seconds, 60}, {"1.5h", Seconds, 5400}, {"1m30s", Seconds, 90}, {"1h1m1s1ms", Seconds, 3661.001}, {"1 m 30 s", Seconds, 90}, {"30s1m", Seconds, 90}, {"1e3ms", Seconds, 1},
		{"1e-3s.5s", Seconds, 0.501}, {" 2s ", Seconds, 2}, {"0s", Seconds, 0},
		{"7B", Bytes, 7}, {"1KiB", Bytes, 1 << 10}, {"5000MiB", Bytes, 5000 << 20}, {"2 GiB", Bytes, 2 << 30}, {".5GiB", Bytes, 1 << 29}, {"1e3MiB", Bytes, 1000 << 20}, {"1.5TiB", Bytes, 3 << 39},
		{"500J", Joules, 500}, {"2 kJ", Joules, 2000},
		{"20/s", PerSecond, 20}, {"0.5 /s", PerSecond, 0.5}, {"1E+3/s", PerSecond, 1000},
		{"5%", Percent, 5}, {"2.5 %", Percent, 2.5}, {"0%", Percent, 0},
		{"3", None, 3}, {"0.25", None, 0.25}, {"1e3", None, 1000}, {".5", None, 0.5}, {"007", None, 7},
	} {
		got, err := Parse(test.text, test.unit)
		if err != nil || math.Abs(got-test.want) > 1e-12*test.want {
			t.Errorf("%q: %v, %v; want %v", test.text, got, err, test.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, test := range []struct {
		text string
		unit Unit
		want string
	}{
		{"", Seconds, `"" is not a time; for example 500ms, 2s or 1m30s`},
		{"soon", Seconds, `"soon" is not a time; for example 500ms, 2s or 1m30s`},
		{"5", Seconds, `"5" has no unit; for seconds write 5s`},
		{"1m 30", Seconds, `"30" has no unit; for seconds write 30s`},
		{"1m5MiB", Seconds, `"5MiB" is a size, not a time; for example 500ms, 2s or 1m30s`},
		{"5GiB", Seconds, `"5GiB" is a size, not a time; for example 500ms, 2s or 1m30s`},
		{"5S", Seconds, `there is no unit "S"; did you mean s?`},
		{"5 sec", Seconds, `there is no unit "sec"; the units are ns, us, µs, ms, s, m, h, B, KiB, MiB, GiB, TiB, J, kJ, /s, %`},
		{"1e999s", Seconds, `"1e999" is too large; write a smaller one`},
		{"1e308h", Seconds, `"1e308h" is too large; write a smaller one`},
		{"-5s", Seconds, `"-5s" is not a time; for example 500ms, 2s or 1m30s`},
		{"+5s", Seconds, `"+5s" is not a time; for example 500ms, 2s or 1m30s`},
		{"5s!", Seconds, `"5s!" is not a time; for example 500ms, 2s or 1m30s`},
		{"5000000", Bytes, `"5000000" has no unit; for example 512MiB or 8GiB`},
		{"5MB", Bytes, `there is no unit "MB"; did you mean MiB?`},
		{"5mib", Bytes, `there is no unit "mib"; did you mean MiB?`},
		{"1GiB512MiB", Bytes, `"1GiB512MiB" is not a number with a unit; for example 500ms, 8GiB or 20/s`},
		{"1GiB 512MiB", Bytes, `"1GiB 512MiB" is not a size; for example 512MiB or 8GiB`},
		{"5", Joules, `"5" has no unit; for example 500J or 2kJ`},
		{"5W", Joules, `there is no unit "W"; the units are`},
		{"InfGiB", Bytes, `"InfGiB" is not a size; for example 512MiB or 8GiB`},
		{"0x10MiB", Bytes, `there is no unit "x"; the units are`},
		{"1_0MiB", Bytes, `"1_0MiB" is not a number with a unit; for example 500ms, 8GiB or 20/s`},
		{"5.MiB", Bytes, `"5.MiB" is not a number with a unit; for example 500ms, 8GiB or 20/s`},
		{"1.5.5MiB", Bytes, `"1.5.5MiB" is not a number with a unit; for example 500ms, 8GiB or 20/s`},
		{"20", PerSecond, `"20" has no unit; for 20 each second write 20/s`},
		{"20/m", PerSecond, `"20/m" is not a rate; for example 20/s or 0.5/s`},
		{"5", Percent, `"5" has no unit; for percent write 5%`},
		{"3s", None, `"3s" is a time, not a number; for example 3 or 0.5`},
		{"NaN", None, `"NaN" is not a number; for example 3 or 0.5`},
	} {
		_, err := Parse(test.text, test.unit)
		var wrong *Error
		if !errors.As(err, &wrong) || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%q: %v, want %s", test.text, err, test.want)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"1.1s": 1100 * time.Millisecond, "24h": 24 * time.Hour, "0.3ms": 300 * time.Microsecond, "1e30s": math.MaxInt64,
	} {
		if got, err := ParseDuration(text); got != want || err != nil {
			t.Errorf("%s: %v, %v; want %v", text, got, err, want)
		}
	}
}

func TestScan(t *testing.T) {
	for text, want := range map[string]string{
		"2s": "2s", "2 s < p99": "2 s", "1m 30s + 5": "1m 30s", "5 + 5": "5", "10/s": "10/s", "10/speed": "10", "5%*2": "5%", "2)": "2",
	} {
		if q, err := Scan(text); err != nil || q.Text != want {
			t.Errorf("%s: %q, %v; want %q", text, q.Text, err, want)
		}
	}
	var wrong *Error
	if _, err := Scan("20 MB"); !errors.As(err, &wrong) || wrong.At != 3 {
		t.Errorf("the place of the error: %+v", wrong)
	}
}

// FuzzParse: no text makes it panic, what is read is finite and not negative,
// and is read again from what Scan says it is.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"1m30s", ".5GiB", "1e3 MiB", "20 /s", "5%", "1e999s", "5µs", "-1", "3 and"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		q, err := Scan(text)
		var wrong *Error
		if err != nil {
			if !errors.As(err, &wrong) || wrong.At < 0 || wrong.At > len(text) || wrong.Message == "" {
				t.Fatalf("%q: %#v", text, err)
			}
			return
		}
		if again, err := Parse(q.Text, q.Unit); err != nil || again != q.Value || !(again >= 0) || math.IsInf(again, 0) {
			t.Fatalf("%q is %v %s, and then %v (%v)", q.Text, q.Value, q.Unit, again, err)
		}
	})
}

func TestFormat(t *testing.T) {
	for _, test := range []struct {
		unit  Unit
		value float64
		want  string
	}{
		{Seconds, 0.5, "500ms"}, {Seconds, 120, "2m"}, {Seconds, 86400, "24h"}, {Seconds, 90, "1m30s"}, {Seconds, 0, "0s"},
		{Bytes, 6 << 20, "6MiB"}, {Bytes, 64 << 40, "64TiB"}, {Bytes, 1025 << 10, "1025KiB"}, {Bytes, 1000, "1000B"}, {Bytes, 0, "0B"},
		{PerSecond, 0.001, "0.001/s"}, {PerSecond, 1e9, "1000000000/s"}, {Percent, 2.5, "2.5%"}, {None, 4096, "4096"},
	} {
		got := test.unit.Format(test.value)
		if again, err := Parse(got, test.unit); got != test.want || err != nil || again != test.value {
			t.Errorf("%v %s is written %s, want %s, and read as %v (%v)", test.value, test.unit, got, test.want, again, err)
		}
	}
}

func TestInRange(t *testing.T) {
	for _, test := range []struct {
		value, low, high float64
		want             string
	}{
		{1, 1, 2, ""}, {2, 1, 2, ""}, {0.5, 0, 2, ""},
		{0.5, 1, 2, "x must be from 1% to 2%, not 0.5%"},
		{3, 1, 2, "x must be from 1% to 2%, not 3%"},
		{0, 0, 2, "x must be above 0 and at most 2%, not 0%"},
		{math.NaN(), 1, 2, "x must be from 1% to 2%, not NaN%"},
	} {
		if err := Percent.InRange("x", test.value, test.low, test.high); (err == nil) != (test.want == "") || err != nil && err.Error() != test.want {
			t.Errorf("%v: %v, want %q", test.value, err, test.want)
		}
	}
}
