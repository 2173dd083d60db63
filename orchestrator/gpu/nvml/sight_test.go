package nvml

import (
	"testing"

	"stackmeter/orchestrator/gpu"
)

func TestSight(t *testing.T) {
	tests := []struct {
		name, namespace, driver string
		want                    gpu.Sight
	}{
		{"host", hostPIDNamespace, "550.54.15", gpu.SightHost},
		{"host, old driver", hostPIDNamespace, "450.80", gpu.SightHost},
		{"host, unknown version", hostPIDNamespace, "", gpu.SightHost},
		{"host, entries of another size", hostPIDNamespace, "535.54.03", gpu.SightNone},
		{"host, repaired", hostPIDNamespace, "535.98", gpu.SightHost},
		{"container, translated", "pid:[4026532000]", "535.113.01", gpu.SightNamespace},
		{"container, new driver", "pid:[4026532000]", "580.1-FAKE", gpu.SightNamespace},
		{"container, host's PIDs", "pid:[4026532000]", "535.104.05", gpu.SightNone},
		{"container, unknown version", "pid:[4026532000]", "x", gpu.SightNone},
		{"namespace unreadable", "", "525.60", gpu.SightNone},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, why := sightOf(tt.namespace, tt.driver)
			if got != tt.want || (why == "") != (got == gpu.SightHost) {
				t.Errorf("sightOf = %s, %q, want %s", got, why, tt.want)
			}
		})
	}
}
