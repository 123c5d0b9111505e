package models

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// MaxDisplayName is how many characters a name for people may have.
const MaxDisplayName = 100

// CleanDisplayName gives a name for people (of a project, an organization, a
// token, a person) in the one form it is kept in: NFC (Unicode Standard Annex 15),
// with every run of spaces as one space and none around it. The error is a
// CodeValidation for a name that is empty or too long, and for one with what
// cannot be seen but changes how it reads: control characters, line ends, marks
// of direction (Unicode Standard Annex 9), characters without width, and more
// than a few marks on top of a letter. Letters of all scripts are welcome, and
// pictures that are joined of several; that two names look alike must not matter,
// so nothing is looked up by them.
func CleanDisplayName(name string) (string, error) {
	if !utf8.ValidString(name) {
		return "", Errorf(CodeValidation, "A name must be UTF-8 text.")
	}
	// Longer than any allowed name is in its longest form: not worth a look.
	if len(name) > 16*MaxDisplayName {
		return "", errNameTooLong()
	}
	name = norm.NFC.String(name)
	marks, before := 0, rune(0)
	for at, c := range name {
		after, _ := utf8.DecodeRuneInString(name[at+utf8.RuneLen(c):])
		if joins(before, c, after) {
			before = c
			continue
		}
		if problem := unseen(c); problem != "" {
			return "", Errorf(CodeValidation, "A name is one line of text; this one contains %s (U+%04X).", problem, c)
		}
		if !unicode.Is(unicode.M, c) {
			marks = 0
		} else if marks++; marks > maxMarks {
			return "", Errorf(CodeValidation, "A name may have at most %d marks on one letter.", maxMarks)
		}
		before = c
	}
	name = strings.Join(strings.Fields(name), " ")
	switch {
	case name == "":
		return "", Errorf(CodeValidation, "A name must not be empty.")
	case utf8.RuneCountInString(name) > MaxDisplayName:
		return "", errNameTooLong()
	case !strings.ContainsFunc(name, func(c rune) bool { return !unicode.Is(unicode.M, c) && c != ' ' }):
		return "", Errorf(CodeValidation, "A name needs at least one letter, digit or sign.")
	}
	return name, nil
}

// maxMarks is more than any language puts on one letter in NFC.
const maxMarks = 4

func errNameTooLong() error {
	return Errorf(CodeValidation, "A name may have at most %d characters.", MaxDisplayName)
}

// The joiners say whether what they stand between is drawn as one.
const (
	zeroWidthNonJoiner = '\u200C'
	zeroWidthJoiner    = '\u200D'
	emojiPresentation  = '\uFE0F'
)

// joins says whether a joiner stands where it is part of how a name is written:
// between pictures (Unicode Technical Standard 51), after a virama, and, to keep
// them apart, between Arabic letters (RFC 5892 A.1 and A.2). Anywhere else it only
// makes one name two that look the same.
func joins(before, c, after rune) bool {
	switch c {
	case zeroWidthJoiner:
		return isVirama(before) || isPicture(before) && isPicture(after)
	case zeroWidthNonJoiner:
		return isVirama(before) || unicode.Is(unicode.Arabic, before) && unicode.Is(unicode.Arabic, after)
	}
	return false
}

func isVirama(c rune) bool {
	const virama = 9 // Canonical_Combining_Class
	return c > 0 && norm.NFC.PropertiesString(string(c)).CCC() == virama
}

// isPicture is about what emoji are made of: the picture, how it is shown, and the
// tone of a skin.
func isPicture(c rune) bool {
	return unicode.Is(unicode.So, c) && c != utf8.RuneError || c == emojiPresentation || c >= 0x1F3FB && c <= 0x1F3FF || c == '↔'
}

// Letters and signs that are drawn as nothing.
const (
	hangulChoseongFiller  = '\u115F'
	hangulJungseongFiller = '\u1160'
	hangulFiller          = '\u3164'
	halfwidthHangulFiller = '\uFFA0'
	brailleBlank          = '\u2800'
	graphemeJoiner        = '\u034F'
)

// unseen says what a character that a name may not have is; "" for the others.
func unseen(c rune) string {
	switch {
	case unicode.Is(unicode.Cc, c), unicode.Is(unicode.Zl, c), unicode.Is(unicode.Zp, c):
		return "a control character or line end"
	case unicode.Is(unicode.Bidi_Control, c):
		return "a mark of direction"
	case unicode.Is(unicode.Cf, c), unicode.Is(unicode.Variation_Selector, c) && c != emojiPresentation, unicode.Is(unicode.Other_Default_Ignorable_Code_Point, c):
		return "a character that cannot be seen"
	case c == hangulChoseongFiller, c == hangulJungseongFiller, c == hangulFiller, c == halfwidthHangulFiller, c == brailleBlank, c == graphemeJoiner:
		return "a character that cannot be seen"
	case unicode.Is(unicode.Co, c), unicode.Is(unicode.Noncharacter_Code_Point, c), c == utf8.RuneError:
		return "a character without a meaning"
	}
	return ""
}
