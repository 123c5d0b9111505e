package auth

import (
	"maps"
	"slices"
)

// Examples of headers.
const (
	exampleCookie    = SessionCookie + "=q2n7d4v6.c2lnbmF0dXJl; Path=/; Max-Age=604800; HttpOnly; SameSite=Lax"
	exampleAuthorize = "https://github.com/login/oauth/authorize?client_id=Iv1.8a61f9b3a7aba766&state=q2n7d4v6"
)

// documentSchemas are the schemas that several routes share.
func documentSchemas() object {
	moment := func(about string) object {
		return object{"type": "string", "format": "date-time", "description": about, "examples": []string{exampleTime}}
	}
	user := answerFields(object{
		"id":            text("The person's id", "usr_3kq5q2n7d4v6x2y7z3a4b5c6d7"),
		"name":          text("What they are called", "Ada Lovelace"),
		"email":         object{"type": "string", "format": "email", "description": "Their address", "examples": []string{exampleEmail}},
		"emailVerified": object{"type": "boolean", "description": "They have shown that the address is theirs"},
		"image":         object{"type": []string{"string", "null"}, "description": "The address of a picture of them", "examples": []any{"https://example.com/ada.png"}},
		"createdAt":     moment("When the account was made"), "updatedAt": moment("When it was last changed"),
	})
	session := answerFields(object{
		"id":        text("The session's id", exampleSession),
		"token":     text("Names the session to `POST /api/auth/revoke-session`; it signs nobody in", exampleSession),
		"userId":    text("Whose it is", "usr_3kq5q2n7d4v6x2y7z3a4b5c6d7"),
		"ipAddress": text("Where it began", "203.0.113.7"),
		"userAgent": text("The browser it began in", "Mozilla/5.0"),
		"createdAt": moment("When it began"), "updatedAt": moment("When it was last renewed"), "expiresAt": moment("When it ends unless it is used"),
	})
	return object{
		"AuthUser": user, "AuthSession": session,
		"AuthError": answerFields(object{
			"code":    text("What kind of error this is; codes are added, never renamed", "INVALID_EMAIL_OR_PASSWORD"),
			"message": text("What is wrong, for people", "Invalid email or password"),
		}),
	}
}

func exampleUser() object {
	return object{
		"id": "usr_3kq5q2n7d4v6x2y7z3a4b5c6d7", "name": "Ada Lovelace", "email": exampleEmail, "emailVerified": true, "image": nil,
		"createdAt": exampleTime, "updatedAt": exampleTime,
	}
}

func exampleSessionBody() object {
	return object{
		"id": exampleSession, "token": exampleSession, "userId": "usr_3kq5q2n7d4v6x2y7z3a4b5c6d7", "ipAddress": "203.0.113.7", "userAgent": "Mozilla/5.0",
		"createdAt": exampleTime, "updatedAt": exampleTime, "expiresAt": "2025-07-29T10:30:00.000Z",
	}
}

// fields is the schema of a request's body; fields it does not name are left out.
func fields(properties object, required ...string) object {
	schema := object{"type": "object", "properties": properties}
	if len(required) > 0 {
		schema["required"] = required
	}
	return schema
}

// answerFields is the schema of an answer that has all these fields and no others.
func answerFields(properties object) object {
	schema := fields(properties, slices.Sorted(maps.Keys(properties))...)
	schema["additionalProperties"] = false
	return schema
}

// optionally is the schema with a field that may be left out.
func optionally(schema object, field string) object {
	schema["required"] = slices.DeleteFunc(schema["required"].([]string), func(name string) bool { return name == field })
	return schema
}

func signedUpFields() object {
	return answerFields(object{
		"token": object{"type": []string{"string", "null"}, "description": "The session's token, as the cookie holds it; null when none was begun", "examples": []any{exampleToken}},
		"user":  ref("AuthUser"),
	})
}

func text(about, example string) object {
	return object{"type": "string", "description": about, "examples": []string{example}}
}

func emailField() object {
	return object{"type": "string", "format": "email", "maxLength": maxEmail, "description": "The person's address", "examples": []string{exampleEmail}}
}

func passwordField(about string) object {
	return object{"type": "string", "format": "password", "minLength": minPassword, "maxLength": maxPassword, "description": about, "examples": []string{examplePhrase}}
}

func imageField(schema object) object {
	schema["maxLength"], schema["description"], schema["examples"] = 2048, "The https address of a picture; empty for none", []string{"https://example.com/ada.png"}
	return schema
}

func targetField(about string) object {
	return object{"type": "string", "maxLength": 2048, "description": about + ". A path, or an address of this service", "examples": []string{appPage}}
}

func rememberField() object {
	return object{"type": "boolean", "description": "false ends the session with the browser, or after a day", "default": true}
}

func parameter(name, in, about string, schema object, example any, required bool) object {
	return object{"name": name, "in": in, "description": about, "required": required, "schema": schema, "example": example}
}

func callbackQuery(page string) object {
	return parameter("callbackURL", "query", "The page to go on to, `"+page+"` when left out. A path, or an address of this service", object{"type": "string", "maxLength": 2048}, page, false)
}

func captchaHeader() object {
	return parameter("X-Captcha-Response", "header", "What Cloudflare Turnstile gave for the person, where it is on", object{"type": "string"}, "0.zrSnRHO7h0HwSjSCU8oyzbjEtD8p", false)
}

func headerOf(about, example string, always bool) object {
	return object{"description": about, "required": always, "schema": object{"type": "string"}, "example": example}
}

func sessionCookieHeader(always bool) object {
	return headerOf("The session's cookie, and one that says that somebody has signed in here", exampleCookie, always)
}

func removedCookieHeader(always bool) object {
	return headerOf("Removes the session's cookie", SessionCookie+"=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax", always)
}

func jsonAnswer(about string, schema object, example any) object {
	return object{"description": about, "content": object{"application/json": object{"schema": schema, "example": example}}}
}

func doneAnswer(about string) object {
	return jsonAnswer(about, answerFields(object{"status": object{"type": "boolean", "description": "Always true"}}), object{"status": true})
}

func redirectAnswer(about, target string, headers object) object {
	answer := object{"description": about, "headers": object{"Location": headerOf("Where to go on to", target, true)}}
	return withHeaders(answer, headers)
}

func withHeaders(answer, headers object) object {
	maps.Copy(section(answer, "headers"), headers)
	return answer
}
