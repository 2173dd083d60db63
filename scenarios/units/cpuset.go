package units

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"stackmeter/scenarios/show"
)

// maxCore is the highest number of a core that the kernel's sets can hold.
const maxCore = 1023

// ParseCpuset reads a list of cores as the kernel writes it: 0-3,6. It returns
// each core once, sorted.
func ParseCpuset(list string) ([]int, error) {
	var cores []int
	for part := range strings.SplitSeq(list, ",") {
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		first, err := core(from)
		if err != nil {
			return nil, err
		}
		last, err := core(to)
		if err != nil {
			return nil, err
		}
		if first > last {
			return nil, fmt.Errorf("cores %s: the first is greater than the last", part)
		}
		for c := first; c <= last; c++ {
			cores = append(cores, c)
		}
	}
	slices.Sort(cores)
	return slices.Compact(cores), nil
}

func core(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || strconv.Itoa(n) != text {
		return 0, fmt.Errorf("%s is not the number of a core", show.Quote(text))
	}
	if n > maxCore {
		return 0, fmt.Errorf("core %d is above the limit of %d", n, maxCore)
	}
	return n, nil
}

// FormatCpuset writes sorted cores as ParseCpuset reads them.
func FormatCpuset(cores []int) string {
	var parts []string
	for i := 0; i < len(cores); {
		last := i
		for last+1 < len(cores) && cores[last+1] == cores[last]+1 {
			last++
		}
		part := strconv.Itoa(cores[i])
		if last > i {
			part += "-" + strconv.Itoa(cores[last])
		}
		parts = append(parts, part)
		i = last + 1
	}
	return strings.Join(parts, ",")
}
