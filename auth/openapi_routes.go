package auth

import "slices"

// What the examples of the description are about.
const (
	exampleTime    = "2025-07-22T10:30:00.000Z"
	exampleSession = "ses_3kq5q2n7d4v6x2y7z3a4b5c6d7"
	exampleToken   = "q2n7d4v6x2y7z3a4b5c6d7e5f3g4h2i6j7k3kq5q2n7d4v6x2y7"
	exampleEmail   = "ada@example.com"
	examplePhrase  = "correct horse battery staple"
)

// describedRoutes says what there is to say of the routes of table, by the same
// paths.
func describedRoutes() map[string]described {
	var (
		ours     = []string{"INTERNAL_SERVER_ERROR", "SERVICE_UNAVAILABLE"}
		writes   = append([]string{"MISSING_OR_NULL_ORIGIN", "INVALID_ORIGIN"}, ours...)
		bodies   = append([]string{"VALIDATION_ERROR", "BAD_REQUEST", "PAYLOAD_TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE"}, writes...)
		captcha  = []string{"MISSING_RESPONSE", "VERIFICATION_FAILED", "UNKNOWN_ERROR", "TOO_MANY_REQUESTS"}
		password = []string{"PASSWORD_TOO_SHORT", "PASSWORD_TOO_LONG"}
	)
	with := func(codes []string, more ...string) []string { return slices.Concat(codes, more) }
	signedIn := object{"token": exampleToken, "user": exampleUser()}
	reset := described{
		id: "request-password-reset", summary: "Have a link to a new password mailed",
		about: "Answers alike whether or not there is an account with this address. The link works for an hour, once.",
		body: fields(object{
			"email": emailField(), "redirectTo": targetField("The page the link leads to in the end, with the query `token` or `error`; `" + resetPage + "` when left out"),
		}, "email"),
		example:    object{"email": exampleEmail, "redirectTo": resetPage},
		parameters: []object{captchaHeader()},
		answers: object{"200": jsonAnswer("Taken.", answerFields(object{
			"status": object{"type": "boolean", "description": "Always true"}, "message": text("What was done, for people", "If this email exists in our system, check your email for the reset link"),
		}), object{"status": true, "message": "If this email exists in our system, check your email for the reset link"})},
		errors: with(bodies, with(captcha, "INVALID_REDIRECT_URL")...),
	}
	oldReset := reset
	oldReset.id, oldReset.alias = "forget-password", true
	oldReset.summary, oldReset.about = "Have a link to a new password mailed, by its old name", "The same as `POST /api/auth/request-password-reset`, for clients that know only this name."

	return map[string]described{
		"ok": {
			id: "accounts-ok", summary: "Whether signing in answers here",
			answers: object{"200": jsonAnswer("It does.", answerFields(object{"ok": object{"type": "boolean", "description": "Always true"}}), object{"ok": true})},
		},
		"config": {
			id: "accounts-config", summary: "How people sign in here", about: "What a page needs to show the right form.",
			answers: object{"200": jsonAnswer("How.", optionally(answerFields(object{
				"signUp":           object{"type": "string", "enum": []SignUp{SignUpOpen, SignUpInvited, SignUpClosed}, "description": "Who may make an account"},
				"confirmEmail":     object{"type": "boolean", "description": "A link is mailed to a new account's address and has to be followed first, to sign in with its token"},
				"github":           object{"type": "boolean", "description": "People can sign in with GitHub"},
				"turnstileSiteKey": text("Forms show Cloudflare's challenge with this key and send its answer as X-Captcha-Response; left out when there is none", "1x00000000000000000000AA"),
			}), "turnstileSiteKey"), object{"signUp": SignUpInvited, "confirmEmail": true, "github": true})},
		},
		"error": {
			id: "accounts-error", summary: "Say that signing in elsewhere did not work",
			about:      "Where a journey to GitHub ends that went wrong before it could be told where to go back to. Always a 400, as plain text.",
			parameters: []object{parameter("error", "query", "What went wrong; anything but letters, digits, _ and - is not repeated", object{"type": "string"}, "state_mismatch", false)},
			answers: object{"400": object{"description": "What went wrong, for people", "content": object{
				"text/plain": object{"schema": object{"type": "string"}, "example": "Signing in did not work (state_mismatch). Go back and try again.\n"},
			}}},
		},
		"sign-up/email": {
			id: "sign-up-with-email", summary: "Make an account with a password",
			about: "Signs in as well. Where addresses have to be confirmed it only mails a link to where signing in makes the account, `token` is null, and an address that has an account is answered alike; who brings an invitation's token has shown the address already.",
			body: fields(object{
				"name":            object{"type": "string", "maxLength": 100, "description": "What the person is called, on one line", "examples": []string{"Ada Lovelace"}},
				"email":           emailField(),
				"password":        passwordField("The password"),
				"image":           imageField(object{"type": "string"}),
				"callbackURL":     targetField("The page the mailed link leads to in the end"),
				"rememberMe":      rememberField(),
				"invitationToken": text("The token of an invitation to this address", exampleToken),
			}, "name", "email", "password"),
			example:    object{"name": "Ada Lovelace", "email": exampleEmail, "password": examplePhrase},
			parameters: []object{captchaHeader()},
			answers: object{"200": withHeaders(jsonAnswer("The account, or that a link was mailed.", signedUpFields(), signedIn), object{
				"Set-Cookie": sessionCookieHeader(false),
			})},
			errors: with(bodies, slices.Concat(captcha, password, []string{"INVALID_CALLBACK_URL", "SIGN_UP_BY_INVITATION", "EMAIL_PASSWORD_SIGN_UP_DISABLED", "USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL"})...),
		},
		"verify-email": {
			id: "verify-email", summary: "Confirm an address by a mailed link",
			about: "Goes on to the page to sign in at, with the query `confirmationToken`, or `error=INVALID_TOKEN`, and the `callbackURL` that was given. It makes no account: `POST /api/auth/sign-in/email` does, with that token and the password of the sign-up.",
			parameters: []object{
				parameter("token", "query", "The token of the mailed link", object{"type": "string"}, exampleToken, true),
				callbackQuery(appPage),
			},
			answers: object{"302": redirectAnswer("On to the page.", signInPage+"?confirmationToken="+exampleToken, nil)},
			errors:  with(ours, "INVALID_CALLBACK_URL"),
		},
		"sign-in/email": {
			id: "sign-in-with-email", summary: "Sign in with a password",
			about: "An account that is not there and a wrong password are answered alike. A session that the browser had ends. With the token of the link that was mailed for a sign-up, the address and the password of that sign-up make its account.",
			body: fields(object{
				"email":             emailField(),
				"password":          object{"type": "string", "maxLength": 4 * maxPassword, "format": "password", "description": "The password", "examples": []string{examplePhrase}},
				"callbackURL":       targetField("Where the client goes then; the answer repeats it in `url` and Location"),
				"rememberMe":        rememberField(),
				"confirmationToken": text("The token of the link that was mailed for a sign-up", exampleToken),
			}, "email", "password"),
			example:    object{"email": exampleEmail, "password": examplePhrase, "callbackURL": appPage},
			parameters: []object{captchaHeader()},
			answers: object{"200": withHeaders(jsonAnswer("Signed in.", optionally(answerFields(object{
				"redirect": object{"type": "boolean", "description": "A callbackURL was given"},
				"token":    text("The session's token, as the cookie holds it", exampleToken),
				"url":      text("The callbackURL that was given", appPage),
				"user":     ref("AuthUser"),
			}), "url"), object{"redirect": true, "token": exampleToken, "url": appPage, "user": exampleUser()}), object{
				"Set-Cookie": sessionCookieHeader(true),
				"Location":   headerOf("The callbackURL that was given", appPage, false),
			})},
			errors: with(bodies, with(captcha, "INVALID_EMAIL", "PASSWORD_TOO_LONG", "INVALID_EMAIL_OR_PASSWORD", "INVALID_CALLBACK_URL", "USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL")...),
		},
		"sign-in/social": {
			id: "sign-in-with-provider", summary: "Begin to sign in with GitHub",
			about: "Gives the address at GitHub that the person goes to; the cookie that is set lets only this browser come back. The journey may take ten minutes.",
			body: fields(object{
				"provider":           object{"type": "string", "enum": []string{"github"}, "description": "With whom"},
				"callbackURL":        targetField("Where to go when it worked; `" + appPage + "` when left out"),
				"errorCallbackURL":   targetField("Where to go when it did not, with the query `error`; `/api/auth/error` when left out"),
				"newUserCallbackURL": targetField("Where to go when it made an account; callbackURL when left out"),
				"disableRedirect":    object{"type": "boolean", "description": "Leaves the header Location out", "default": false},
			}, "provider"),
			example: object{"provider": "github", "callbackURL": appPage},
			answers: object{"200": withHeaders(jsonAnswer("Where to go.", answerFields(object{
				"url":      object{"type": "string", "format": "uri", "description": "The address at GitHub", "examples": []string{exampleAuthorize}},
				"redirect": object{"type": "boolean", "description": "The client is to go there"},
			}), object{"url": exampleAuthorize, "redirect": true}), object{
				"Set-Cookie": headerOf("What lets this browser come back", stateCookie+"=q2n7d4v6.c2lnbmF0dXJl; Path=/; Max-Age=600; HttpOnly; SameSite=Lax", true),
				"Location":   headerOf("The same as `url`", exampleAuthorize, false),
			})},
			errors: with(bodies, "TOO_MANY_REQUESTS", "PROVIDER_NOT_FOUND", "ID_TOKEN_NOT_SUPPORTED", "INVALID_CALLBACK_URL", "INVALID_ERROR_CALLBACK_URL", "INVALID_NEW_USER_CALLBACK_URL"),
		},
		"callback/": {
			id: "sign-in-callback", summary: "Come back from GitHub", last: "provider",
			about: "Signs in and goes on to where the journey was to lead. When it does not work the query `error` says why: `state_not_found`, `state_mismatch`, `oauth_provider_not_found`, `access_denied`, `no_code`, `unable_to_get_user_info`, `email_not_found`, `account_not_linked`, `unable_to_link_account` or `signup_disabled`.",
			parameters: []object{
				parameter("provider", "path", "With whom the person signed in", object{"type": "string"}, "github", true),
				parameter("state", "query", "What `POST /api/auth/sign-in/social` sent along", object{"type": "string"}, exampleToken, false),
				parameter("code", "query", "What GitHub gives for the person, once", object{"type": "string"}, "9f0c1a526f5b4a398d0e", false),
				parameter("error", "query", "Why GitHub did not", object{"type": "string"}, "access_denied", false),
			},
			answers: object{"302": redirectAnswer("On to a page.", appPage, object{"Set-Cookie": sessionCookieHeader(false)})},
			errors:  ours,
		},
		"sign-out": {
			id: "sign-out", summary: "Sign out", about: "Ends the session of this browser and removes its cookie; without one it answers alike.", mayHave: true,
			answers: object{"200": withHeaders(jsonAnswer("Nobody is signed in.", answerFields(object{"success": object{"type": "boolean", "description": "Always true"}}), object{"success": true}),
				object{"Set-Cookie": removedCookieHeader(true)})},
			errors: writes,
		},
		"get-session": {
			id: "get-session", summary: "Say who is signed in", mayHave: true,
			about:      "null when nobody is. A session that is used lives on; one that is remembered is renewed after a seventh of its life.",
			parameters: []object{parameter("disableRefresh", "query", "Leaves the session as it is", object{"type": "boolean"}, false, false)},
			answers: object{"200": withHeaders(jsonAnswer("Who.", object{"anyOf": []object{
				answerFields(object{"session": ref("AuthSession"), "user": ref("AuthUser")}), {"type": "null"},
			}}, object{"session": exampleSessionBody(), "user": exampleUser()}), object{"Set-Cookie": headerOf("The renewed session, or that a cookie of no use is to go", exampleCookie, false)})},
			errors: ours,
		},
		"list-sessions": {
			id: "list-sessions", summary: "List one's own sessions", session: true,
			answers: object{"200": jsonAnswer("Those that live.", object{"type": "array", "items": ref("AuthSession")}, []object{exampleSessionBody()})},
			errors:  with(ours, "UNAUTHORIZED"),
		},
		"revoke-session": {
			id: "revoke-session", summary: "End one of one's own sessions", session: true,
			about:   "A token that names none of one's own is answered alike.",
			body:    fields(object{"token": text("The session's `token` from the list, or the token in its cookie", exampleSession)}, "token"),
			example: object{"token": exampleSession},
			answers: object{"200": withHeaders(doneAnswer("It has ended."), object{"Set-Cookie": removedCookieHeader(false)})},
			errors:  with(bodies, "UNAUTHORIZED"),
		},
		"revoke-sessions": {
			id: "revoke-sessions", summary: "End all of one's own sessions", session: true,
			answers: object{"200": withHeaders(doneAnswer("They have ended, this one too."), object{"Set-Cookie": removedCookieHeader(true)})},
			errors:  with(writes, "UNAUTHORIZED"),
		},
		"revoke-other-sessions": {
			id: "revoke-other-sessions", summary: "End one's own sessions but this one", session: true,
			answers: object{"200": doneAnswer("They have ended.")},
			errors:  with(writes, "UNAUTHORIZED"),
		},
		"change-password": {
			id: "change-password", summary: "Change one's own password", session: true,
			about: "Needs the present one. A letter tells of the change.",
			body: fields(object{
				"currentPassword":     object{"type": "string", "maxLength": 4 * maxPassword, "format": "password", "description": "The present password", "examples": []string{examplePhrase}},
				"newPassword":         passwordField("The new password"),
				"revokeOtherSessions": object{"type": "boolean", "description": "Ends all sessions and begins a new one here", "default": false},
			}, "currentPassword", "newPassword"),
			example: object{"currentPassword": examplePhrase, "newPassword": "wrong zebra charger paperclip", "revokeOtherSessions": true},
			answers: object{"200": withHeaders(jsonAnswer("Changed; `token` is that of the new session, else null.", signedUpFields(), signedIn), object{"Set-Cookie": sessionCookieHeader(false)})},
			errors:  with(bodies, with(password, "UNAUTHORIZED", "INVALID_PASSWORD", "CREDENTIAL_ACCOUNT_NOT_FOUND", "TOO_MANY_REQUESTS")...),
		},
		"request-password-reset": reset,
		"forget-password":        oldReset,
		"reset-password": {
			id: "reset-password", summary: "Set a new password with a mailed token",
			about: "Ends all sessions of the account. The token, which may be in the query instead of the body, works once.",
			body: fields(object{
				"newPassword": passwordField("The new password"),
				"token":       text("The token of the mailed link", exampleToken),
			}, "newPassword"),
			example:    object{"newPassword": "wrong zebra charger paperclip", "token": exampleToken},
			parameters: []object{parameter("token", "query", "The token of the mailed link, where the body has none", object{"type": "string"}, exampleToken, false)},
			answers:    object{"200": doneAnswer("The new password counts.")},
			errors:     with(bodies, with(password, "INVALID_TOKEN", "TOO_MANY_REQUESTS")...),
		},
		"reset-password/": {
			id: "reset-password-link", summary: "Follow a mailed link to a new password", last: "token",
			about: "Goes on to the page that asks for the password, with the query `token`, or `error=INVALID_TOKEN`.",
			parameters: []object{
				parameter("token", "path", "The token of the mailed link", object{"type": "string"}, exampleToken, true),
				callbackQuery(resetPage),
			},
			answers: object{"302": redirectAnswer("On to the page.", resetPage+"?token="+exampleToken, nil)},
			errors:  with(ours, "INVALID_CALLBACK_URL"),
		},
		"update-user": {
			id: "update-user", summary: "Change how one is shown", session: true,
			body: fields(object{
				"name":  object{"type": "string", "maxLength": 100, "description": "What the person is called, on one line", "examples": []string{"Ada King"}},
				"image": imageField(object{"type": []string{"string", "null"}}),
			}),
			example: object{"name": "Ada King"},
			answers: object{"200": doneAnswer("Changed.")},
			errors:  with(bodies, "UNAUTHORIZED", "EMAIL_CAN_NOT_BE_UPDATED", "NO_FIELDS_TO_UPDATE"),
		},
	}
}
