package load

// pollerEvents is how many events one call can bring.
const pollerEvents = 128

// Tokens of events that are no client's; a client's token is its index.
const (
	tokenWake  = -1
	tokenTimer = -2
)

// A pollEvent is what happened to the connection of a client.
type pollEvent struct {
	token    int
	readable bool
	writable bool
	ended    bool // the other side sends no more, or the connection broke
}
