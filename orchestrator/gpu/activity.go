package gpu

import (
	"slices"
	"time"
)

// minEnergyWindow is the shortest cell that has an energy: the counter moves in
// steps of about 100 ms.
const minEnergyWindow = time.Second

// activity is what a device did during the cell.
func (ev evidence) activity(device int) TelemetrySummary {
	var sum TelemetrySummary
	var utilization, power, sm, mem, temperature []float64
	var energy []Telemetry
	keep := func(to *[]float64, v *float64) {
		if v != nil {
			*to = append(*to, *v)
		}
	}
	for _, r := range ev.telemetry {
		t := r[device]
		if t == nil {
			continue
		}
		keep(&utilization, t.Utilization)
		keep(&power, t.Power)
		keep(&sm, t.SMClock)
		keep(&mem, t.MemoryClock)
		keep(&temperature, t.Temperature)
		if t.PowerLimit != nil {
			sum.PowerLimit = t.PowerLimit
		}
		if t.Energy != nil {
			energy = append(energy, *t)
		}
		for _, reason := range t.Throttle {
			if !slices.Contains(sum.Throttle, reason) {
				sum.Throttle = append(sum.Throttle, reason)
			}
		}
	}
	slices.Sort(sum.Throttle)
	_, sum.UtilizationMean, sum.UtilizationMax = spread(utilization)
	_, sum.PowerMean, sum.PowerMax = spread(power)
	sum.SMClockMin, _, sum.SMClockMax = spread(sm)
	sum.MemoryClockMin, _, sum.MemoryClockMax = spread(mem)
	_, _, sum.TemperatureMax = spread(temperature)
	if n := len(energy); n > 1 && ev.to-ev.from >= minEnergyWindow {
		if used := *energy[n-1].Energy - *energy[0].Energy; used >= 0 { // a reloaded driver counts from 0
			sum.Energy = &used
		}
	}
	return sum
}

// spread is the smallest value, the mean and the largest, nil without values.
func spread(v []float64) (least, mean, most *float64) {
	if len(v) == 0 {
		return nil, nil, nil
	}
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return new(slices.Min(v)), new(sum / float64(len(v))), new(slices.Max(v))
}
