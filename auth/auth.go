// Package auth knows people: accounts, passwords, sessions, and signing in with
// another provider. Its routes below /api/auth speak the wire format of the
// better-auth client (https://www.better-auth.com/docs).
package auth

// SessionCookie holds the session's token; over HTTPS its name begins with __Secure-.
const SessionCookie = "better-auth.session_token"
