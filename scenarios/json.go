package scenarios

import (
	"encoding/json"
	"math"
	"time"
)

// In JSON durations are seconds, as everywhere outside of Go.

func fromSeconds(s float64) time.Duration { return time.Duration(math.Round(s * 1e9)) }

type readyJSON struct {
	Path     string  `json:"path"`
	TimeoutS float64 `json:"timeout_s"`
}

// MarshalJSON implements json.Marshaler.
func (r Ready) MarshalJSON() ([]byte, error) {
	return json.Marshal(readyJSON{r.Path, r.Timeout.Seconds()})
}

// UnmarshalJSON implements json.Unmarshaler.
func (r *Ready) UnmarshalJSON(text []byte) error {
	var read readyJSON
	err := json.Unmarshal(text, &read)
	r.Path, r.Timeout = read.Path, fromSeconds(read.TimeoutS)
	return err
}

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
	r.Timeout = fromSeconds(read.TimeoutS)
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
	l.P99 = fromSeconds(read.P99S)
	return err
}
