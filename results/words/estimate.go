package words

import (
	"fmt"
	"math"
	"time"

	"stackmeter/results/verdict/estimate"
	"stackmeter/scenarios/show"
)

// Estimate says how long a plan will take, and what that is from.
func Estimate(e estimate.Estimate) string {
	about := "about "
	if e.Most {
		about = "at most about "
	}
	text := about + roughly(e.Seconds)
	switch {
	case e.Runs == 0:
		return text + ": a guess, as the store has no run of it; without pulling or building images"
	case e.Known < e.Cells:
		return fmt.Sprintf("%s, by %s; %d of %s were not measured before, and are a guess", text, show.Plural(e.Runs, "earlier run"), e.Cells-e.Known, show.Plural(e.Cells, "cell"))
	}
	return fmt.Sprintf("%s, by %s", text, show.Plural(e.Runs, "earlier run"))
}

// roughly is a time to two digits at most.
func roughly(seconds float64) string {
	d := time.Duration(math.Ceil(seconds)) * time.Second
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 10*time.Minute:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60/10*10)
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(math.Round(d.Minutes())))
	}
	return fmt.Sprintf("%.1f h", d.Hours())
}
