package scenarios

// A Plan is everything that a run will do, in the order in which it will do
// it. It can be printed, stored and compared; nothing is decided later, except
// that trials whose repeats Until makes needless are left out, and cells that
// Prune spares.
type Plan struct {
	Scenario   string     `json:"scenario"`
	App        App        `json:"app"`
	Request    Request    `json:"request"`
	Resources  Resources  `json:"resources"`
	Client     Client     `json:"client"`
	Warmup     int        `json:"warmup"`
	Order      string     `json:"order"`
	Prune      bool       `json:"prune,omitempty"`
	Seed       uint64     `json:"seed"`
	Fresh      string     `json:"fresh"`
	Repeats    int        `json:"repeats"` // the most, where Until may end them earlier
	Until      *Until     `json:"until,omitempty"`
	Baseline   *Baseline  `json:"baseline,omitempty"`
	Thresholds []string   `json:"thresholds,omitempty"`
	Recommend  *Recommend `json:"recommend,omitempty"`
	Trials     []Trial    `json:"trials"`

	PayloadFiles []PayloadFile `json:"payload_files,omitempty"` // see WithPayloadFiles; none in a plan that is only looked at
}

// A Trial is the lifetime of one stack and the cells measured on it, from the
// lightest load to the heaviest.
type Trial struct {
	Topology Topology `json:"topology"`
	Repeat   int      `json:"repeat"` // from 1
	Cells    []Cell   `json:"cells"`
}

// A Cell is one topology under one load, in one repeat.
type Cell struct {
	Name   string   `json:"name"` // nginx+gunicorn-w1-t4/mt10/n100
	Repeat int      `json:"repeat"`
	Load   LoadSpec `json:"load"`
}
