package mail

import (
	"bytes"
	"fmt"
	"html/template"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// ResetPassword carries the link to a new password.
func ResetPassword(to, link string) Message {
	return letter{
		Subject: "Choose a new password for Slipway",
		Lines:   []string{"Somebody asked for a new password for your account. The link works once, for an hour."},
		Action:  "Choose a new password", Link: link,
		Ignore: "If it was not you, there is nothing to do: your password stays as it is.",
	}.to(to)
}

// PasswordChanged tells that a password was changed, so that nobody else does it
// unnoticed.
func PasswordChanged(to, link string) Message {
	return letter{
		Subject: "Your Slipway password was changed",
		Lines:   []string{"The password of your account has just been changed."},
		Action:  "Sign in", Link: link,
		Ignore: "If it was not you, ask for a new password on the sign-in page at once.",
	}.to(to)
}

// Confirm carries the link to where the account of a sign-up is made.
func Confirm(to, link string) Message {
	return letter{
		Subject: "Confirm your address for Slipway",
		Lines:   []string{"Somebody signed up for Slipway with this address. The link leads to where you sign in with the password that was chosen then, which makes the account. It works once, for a day."},
		Action:  "Confirm the address", Link: link,
		Ignore: "If it was not you, there is nothing to do: without that password no account is made.",
	}.to(to)
}

// HaveAccount answers a sign-up with an address that has an account.
func HaveAccount(to, link string) Message {
	return letter{
		Subject: "You have a Slipway account",
		Lines:   []string{"Somebody signed up for Slipway with this address, which has an account already. Sign in with it. If you have forgotten the password, the link lets you choose a new one; it works once, for an hour."},
		Action:  "Choose a new password", Link: link,
		Ignore: "If it was not you, there is nothing to do: nothing was changed.",
	}.to(to)
}

// Welcome greets somebody whose account has just been made.
func Welcome(to, name, link string) Message {
	return letter{
		Subject: "Welcome to Slipway",
		Lines:   []string{greeting(name), "Your account is there. Run `slipway login` in a project's folder and `slipway deploy` to put it live, or begin in the browser."},
		Action:  "Open Slipway", Link: link,
	}.to(to)
}

// Invitation carries the link to join an organization. What others have named
// themselves is shown, so it is cut to a line.
func Invitation(to, organization, inviter, role, link string) Message {
	return letter{
		Subject: fmt.Sprintf("Join %s on Slipway", line(organization, 80)),
		Lines:   []string{fmt.Sprintf("%s invites you to the organization %s, as %s.", line(inviter, 120), line(organization, 80), line(role, 20))},
		Action:  "Accept the invitation", Link: link,
		Ignore: "If you do not know them, ignore this letter; nothing happens.",
	}.to(to)
}

func greeting(name string) string {
	if name = line(name, 80); name != "" {
		return "Hello " + name + ","
	}
	return "Hello,"
}

// line is what others have named themselves, on one line of at most so many
// characters, of which no mail program makes a link.
func line(text string, most int) string {
	text = strings.Join(strings.Fields(text), " ")
	text = strings.Map(func(c rune) rune {
		if unicode.IsControl(c) || unicode.Is(unicode.Bidi_Control, c) {
			return -1
		}
		return c
	}, text)
	// Mail programs would decode an encoded word (RFC 2047) in a subject, and show what
	// names may not have.
	text = unlinked(strings.ReplaceAll(text, "=?", "= ?"))
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most-1]) + "…"
	}
	return text
}

// unlinked parts what addresses are made of: "https: //evil. example". Anybody may be
// invited by anybody, who would else have us send links of theirs.
func unlinked(text string) string {
	var b strings.Builder
	parted := false
	for _, c := range text {
		if parted && c != ' ' {
			b.WriteByte(' ')
		}
		b.WriteRune(c)
		parted = partsAddress(c)
	}
	return b.String()
}

// partsAddress says whether a character stands between the parts of an address of
// any kind, or is taken for one that does (the dots of RFC 3490 §3.1).
func partsAddress(c rune) bool {
	return c == '\u3002' || c == '\uFF61' || strings.ContainsAny(norm.NFKC.String(string(c)), `.:@\`)
}

// letter is what all letters are made of.
type letter struct {
	Subject string
	Lines   []string
	// Action is what the link does.
	Action, Link string
	// Ignore tells those who did not ask for the letter what to do.
	Ignore string
}

func (l letter) to(address string) Message {
	text := strings.Join(l.Lines, "\n\n") + "\n\n" + l.Action + ":\n" + l.Link + "\n"
	if l.Ignore != "" {
		text += "\n" + l.Ignore + "\n"
	}
	var html bytes.Buffer
	// The template is ours and its values are strings: it cannot fail.
	_ = template.Must(template.New("letter").Parse(page)).Execute(&html, l)
	return Message{To: address, Subject: l.Subject, Text: text, HTML: html.String()}
}

const page = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{.Subject}}</title></head>
<body style="font-family: sans-serif; line-height: 1.5; max-width: 36em; margin: 2em auto; padding: 0 1em">
{{range .Lines}}<p>{{.}}</p>
{{end}}<p><a href="{{.Link}}" style="display: inline-block; padding: .6em 1.2em; border-radius: .4em; background: #1d4ed8; color: #ffffff; text-decoration: none">{{.Action}}</a></p>
<p style="color: #555555; font-size: .9em; word-break: break-all">{{.Link}}</p>
{{if .Ignore}}<p style="color: #555555; font-size: .9em">{{.Ignore}}</p>
{{end}}</body></html>
`
