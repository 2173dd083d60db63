package wire

import (
	"encoding/json"
	"time"

	"stackmeter/scenarios/units"
)

// plainRequest is a Request without methods.
type plainRequest Request

type requestJSON struct {
	*plainRequest
	Timeout  *time.Duration `json:"timeout,omitempty"` // hides the embedded one, and is never set
	TimeoutS float64        `json:"timeout_s"`
}

// MarshalJSON implements json.Marshaler: a duration is a number of seconds.
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
