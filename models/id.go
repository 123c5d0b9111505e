package models

import (
	"crypto/rand"
	"encoding/base32"
	"strings"
)

// Prefixes of identifiers: an id says what it names.
const (
	PrefixOrganization = "org"
	PrefixUser         = "usr"
	PrefixToken        = "tok"
	PrefixProject      = "prj"
	PrefixDeployment   = "dep"
	PrefixRelease      = "rel"
	PrefixSession      = "ses"
	PrefixAccount      = "acc"
	PrefixInvitation   = "inv"
	PrefixAudit        = "aud"
	PrefixWebhook      = "whk"
	PrefixEvent        = "evt"
	PrefixDelivery     = "dlv"
)

var idEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// NewID makes an identifier such as dep_3kq…: a prefix and 128 random bits, so
// that an id which is shown to the public cannot be guessed. Only characters
// that are safe in a path, a folder name and a cgroup name occur in it.
func NewID(prefix string) string {
	var raw [16]byte
	// crypto/rand.Read never fails: it ends the program instead.
	_, _ = rand.Read(raw[:])
	return prefix + "_" + idEncoding.EncodeToString(raw[:])
}

// ValidID says whether id has the form NewID gives with that prefix.
func ValidID(prefix, id string) bool {
	rest, ok := strings.CutPrefix(id, prefix+"_")
	if !ok || len(rest) != 26 {
		return false
	}
	for _, c := range rest {
		if (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return false
		}
	}
	return true
}

// RawID gives the 128 bits of an id that NewID made with that prefix, for
// keeping many of them; AppendID is the way back. Not ok means that it is no
// such id.
func RawID(prefix, id string) (raw [16]byte, ok bool) {
	if !ValidID(prefix, id) {
		return raw, false
	}
	if _, err := idEncoding.Decode(raw[:], []byte(id[len(prefix)+1:])); err != nil {
		return raw, false
	}
	// The last character has two bits more than there are.
	return raw, id[len(id)-1] == idEncoding.EncodeToString(raw[15:])[1]
}

// AppendID appends the id with that prefix and those bits.
func AppendID(b []byte, prefix string, raw [16]byte) []byte {
	return idEncoding.AppendEncode(append(append(b, prefix...), '_'), raw[:])
}
