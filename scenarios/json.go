package scenarios

import (
	"encoding/json"
	"time"

	"stackmeter/scenarios/units"
)

// In JSON a duration is a number of seconds, as everywhere outside of Go.

// plainRequest is a Request without methods.
type plainRequest Request

type requestJSON struct {
	*plainRequest
	Timeout  *time.Duration `json:"timeout,omitempty"` // hides the embedded one, and is never set
	TimeoutS float64        `json:"timeout_s"`
}

// MarshalJSON implements json.Marshaler.
func (r Request) MarshalJSON() ([]byte, error) {
	return json.Marshal(requestJSON{plainRequest: (*plainRequest)(&r), TimeoutS: r.Timeout.Seconds()})
}

// UnmarshalJSON implements json.Unmarshaler.
func (r *Request) UnmarshalJSON(text []byte) error {
	read := requestJSON{plainRequest: (*plainRequest)(r)}
	err := json.Unmarshal(text, &read)
	r.Timeout = units.Duration(read.TimeoutS)
	return err
}

// plainLoad is a LoadSpec without methods.
type plainLoad LoadSpec

type loadJSON struct {
	*plainLoad
	P99  *time.Duration `json:"search_p99,omitempty"` // hides the embedded one, and is never set
	P99S float64        `json:"search_p99_s,omitempty"`
}

// MarshalJSON implements json.Marshaler.
func (l LoadSpec) MarshalJSON() ([]byte, error) {
	return json.Marshal(loadJSON{plainLoad: (*plainLoad)(&l), P99S: l.P99.Seconds()})
}

// UnmarshalJSON implements json.Unmarshaler.
func (l *LoadSpec) UnmarshalJSON(text []byte) error {
	read := loadJSON{plainLoad: (*plainLoad)(l)}
	err := json.Unmarshal(text, &read)
	l.P99 = units.Duration(read.P99S)
	return err
}
