package api

// OpenOperation lets everybody call an operation until the function it gives is
// called, for tests of what watches over the permissions.
func OpenOperation(id string) (restore func()) {
	former := permissions[id]
	permissions[id] = everybody
	return func() { permissions[id] = former }
}

// LowerOperation lets every member of the organization call an operation until
// the function it gives is called.
func LowerOperation(id string) (restore func()) {
	former := permissions[id]
	permissions[id] = reading
	return func() { permissions[id] = former }
}
