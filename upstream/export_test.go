package upstream

// What tests have to wait out.
const (
	SurelyQuiet      = surelyQuiet
	ContinuePatience = continuePatience
)
