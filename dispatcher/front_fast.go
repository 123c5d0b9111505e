package dispatcher

// fastState is what a connection keeps for answering by itself.
type fastState struct {
	head head
}

// answer answers a request when it can do so from memory. Not answered means
// that it is net/http's.
func (g *guardConn) answer(h *head) (answered bool, err error) {
	return false, nil
}
