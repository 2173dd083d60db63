package orchestrator

import "time"

// Kinds of events, in the order in which a run sends them.
const (
	EventNote     = "note"     // something that the user should know
	EventImage    = "image"    // an image is being pulled or built
	EventRun      = "run"      // the images are there: Trials and Requests are what there is to do
	EventStart    = "start"    // a stack starts
	EventReady    = "ready"    // it answers
	EventCell     = "cell"     // a cell's load begins
	EventProgress = "progress" // Done of the cell's Requests are answered
	EventResult   = "result"   // a cell's record was written
	EventSkip     = "skip"     // a trial is not needed any more: Requests will not be sent
	EventStop     = "stop"     // the stack is being removed
	EventStopped  = "stopped"  // it was
	EventStuck    = "stuck"    // a step takes longer than it can; the run is being ended
)

// An Event tells what a run is doing. Its JSON form is one line of
// `--progress json`.
type Event struct {
	Time     time.Time `json:"time"`
	Kind     string    `json:"event"`
	Topology string    `json:"topology,omitempty"`
	Cell     string    `json:"cell,omitempty"`
	Repeat   int       `json:"repeat,omitempty"`
	Trial    int       `json:"trial,omitempty"` // from 1
	Trials   int       `json:"trials,omitempty"`
	Requests int       `json:"requests,omitempty"`
	Done     int       `json:"done,omitempty"`
	Status   string    `json:"status,omitempty"`
	Duration *float64  `json:"duration_s,omitempty"`
	Flags    []string  `json:"flags,omitempty"`
	Message  string    `json:"message,omitempty"`
}
