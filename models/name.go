package models

import "strings"

const (
	// MaxWorkerNameLength is a DNS label's length (RFC 1035 §2.3.4), in bytes.
	MaxWorkerNameLength = 63
	// MaxNewWorkerNameLength leaves room for a release address,
	// `<release>--<worker>`, to fit one DNS label.
	MaxNewWorkerNameLength = 40
)

// ReservedWorkerNames are the labels no project may take unless an operator
// says otherwise: a tenant under one of them could pass for the platform, or
// receive its mail. Each call returns a list of its own.
func ReservedWorkerNames() []string {
	return []string{
		"admin", "api", "app", "assets", "cdn", "dispatcher", "docs", "ftp",
		"health", "mail", "ns1", "ns2", "static", "status", "system", "www",
	}
}

// FoldWorkerName gives the one spelling under which a worker name is stored
// and looked up. Only ASCII letters fold: Unicode folding would turn a Kelvin
// sign into a k and so make two spellings of one name out of foreign bytes.
func FoldWorkerName(name string) string {
	for i := 0; i < len(name); i++ {
		if isUpper(name[i]) {
			return foldASCII(name)
		}
	}
	return name
}

// ValidateWorkerName says whether a name may be looked up as a worker: letters
// of either case, digits and hyphens, 1–63 of them, no hyphen at the ends, not
// among reserved (which is in lower case). The error is a CodeValidation whose
// message is meant for the person who typed the name.
func ValidateWorkerName(name string, reserved []string) error {
	if strings.TrimSpace(name) == "" {
		return Errorf(CodeValidation, "Subdomain is required")
	}
	folded := FoldWorkerName(name)
	for _, taken := range reserved {
		if folded == taken {
			return Errorf(CodeValidation, "Subdomain '%s' is reserved", name)
		}
	}
	for i := 0; i < len(folded); i++ {
		if !isNameByte(folded[i]) {
			return Errorf(CodeValidation, "Subdomain can only contain letters, numbers, and hyphens")
		}
	}
	if len(name) > MaxWorkerNameLength {
		return Errorf(CodeValidation, "Subdomain must be %d characters or less", MaxWorkerNameLength)
	}
	if name[0] == '-' || name[len(name)-1] == '-' {
		return Errorf(CodeValidation, "Subdomain cannot start or end with a hyphen")
	}
	return nil
}

// ValidateNewWorkerName is the rule for a name being taken now. It is stricter
// than ValidateWorkerName, so that `<release>--<worker>` stays one label and
// never reads as another project's name; older, longer names keep answering.
func ValidateNewWorkerName(name string, reserved []string) error {
	if err := ValidateWorkerName(name, reserved); err != nil {
		return err
	}
	if len(name) > MaxNewWorkerNameLength {
		return Errorf(CodeValidation, "A new subdomain must be %d characters or less", MaxNewWorkerNameLength)
	}
	if strings.Contains(name, "--") {
		return Errorf(CodeValidation, "A new subdomain cannot contain two hyphens in a row")
	}
	return nil
}

func isUpper(c byte) bool { return 'A' <= c && c <= 'Z' }

func isNameByte(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-'
}

func foldASCII(name string) string {
	folded := []byte(name)
	for i, c := range folded {
		if isUpper(c) {
			folded[i] = c + ('a' - 'A')
		}
	}
	return string(folded)
}
