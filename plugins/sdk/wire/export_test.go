package wire

// The parts that tests put together in another way.
var (
	NewClient = newClient
	Sent      = sent
	Received  = received
)
