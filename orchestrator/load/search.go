package load

// A Search is filled in by the search for a rate.
type Search struct{}
