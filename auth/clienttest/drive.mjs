// Drives the better-auth client, as published, through everything that people do
// with it. The server under test is at SERVER; its letters are read at /letters.
// People know it as PAGE: with https, cookies and headers are as they are there.
import assert from "node:assert/strict";
import { createAuthClient } from "better-auth/client";

const server = process.env.SERVER;
const page = process.env.PAGE;
const secure = page.startsWith("https:");
const sessionCookie = (secure ? "__Secure-" : "") + "better-auth.session_token";

// browser is a client with cookies of its own, which says where it comes from.
function browser() {
  const jar = new Map();
  const request = async (url, init = {}) => {
    const headers = new Headers(init.headers);
    headers.set("origin", page);
    if (secure) headers.set("sec-fetch-site", "same-origin");
    if (jar.size > 0) headers.set("cookie", [...jar].map(([name, value]) => `${name}=${value}`).join("; "));
    const answer = await fetch(String(url).replace(page, server), { ...init, headers, redirect: "manual" });
    for (const cookie of answer.headers.getSetCookie()) {
      const [pair, ...attributes] = cookie.split("; ");
      const at = pair.indexOf("=");
      if (attributes.includes("Max-Age=0")) jar.delete(pair.slice(0, at));
      else jar.set(pair.slice(0, at), pair.slice(at + 1));
      assert.equal(secure, attributes.includes("Secure"), cookie);
      assert.ok(attributes.includes("HttpOnly") && attributes.includes("SameSite=Lax") && attributes.includes("Path=/"), cookie);
    }
    return answer;
  };
  const client = createAuthClient({ baseURL: server, fetchOptions: { customFetchImpl: request } });
  return { client, request, jar };
}

async function good(promise) {
  const { data, error } = await promise;
  assert.equal(error, null);
  return data;
}

async function bad(promise, status, code) {
  const { data, error } = await promise;
  assert.equal(data, null);
  assert.equal(error.status, status);
  assert.equal(error.code, code);
  assert.ok(error.message.length > 0);
}

const email = "ada@example.com";
const password = "the first password";
const laptop = browser();
const phone = browser();

// Signing up signs in.
assert.equal(await good(laptop.client.getSession()), null);
const made = await good(laptop.client.signUp.email({ email, password, name: "Ada Lovelace" }));
assert.equal(made.user.email, email);
assert.equal(made.user.emailVerified, false);
assert.equal(made.user.image, null);
assert.equal(typeof made.token, "string");
assert.ok(laptop.jar.has(sessionCookie));
const me = await good(laptop.client.getSession());
assert.equal(me.user.id, made.user.id);
assert.equal(me.session.userId, made.user.id);
assert.ok(me.session.expiresAt instanceof Date && me.session.expiresAt > new Date());
assert.ok(me.user.createdAt instanceof Date);
await bad(phone.client.signUp.email({ email, password, name: "Ada" }), 422, "USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL");
await bad(phone.client.signUp.email({ email: "x@example.com", password: "short", name: "X" }), 400, "PASSWORD_TOO_SHORT");
await bad(phone.client.signUp.email({ email: "no address", password, name: "X" }), 400, "VALIDATION_ERROR");

// How people are shown.
assert.deepEqual(await good(laptop.client.updateUser({ name: "Ada King" })), { status: true });
assert.equal((await good(laptop.client.getSession())).user.name, "Ada King");

// Signing in elsewhere.
await bad(phone.client.signIn.email({ email, password: "not the password" }), 401, "INVALID_EMAIL_OR_PASSWORD");
await bad(phone.client.signIn.email({ email: "nobody@example.com", password }), 401, "INVALID_EMAIL_OR_PASSWORD");
await bad(phone.client.signIn.email({ email: "nobody", password }), 400, "INVALID_EMAIL");
await bad(phone.client.signIn.email({ email, password, callbackURL: "https://evil.example/" }), 403, "INVALID_CALLBACK_URL");
const inside = await good(phone.client.signIn.email({ email, password, rememberMe: false, callbackURL: "/app" }));
assert.equal(inside.redirect, true);
assert.equal(inside.url, "/app");

// Sessions are listed by a name that signs nobody in, and end by it.
await bad(browser().client.listSessions(), 401, "UNAUTHORIZED");
const sessions = await good(laptop.client.listSessions());
assert.equal(sessions.length, 2);
const own = (await good(laptop.client.getSession())).session.token;
const other = sessions.find((s) => s.token !== own);
assert.ok(!JSON.stringify(sessions).includes(inside.token));
assert.deepEqual(await good(laptop.client.revokeSession({ token: other.token })), { status: true });
assert.equal(await good(phone.client.getSession()), null);
const again = await good(phone.client.signIn.email({ email, password }));
assert.deepEqual(await good(laptop.client.revokeSession({ token: again.token })), { status: true });
assert.equal(await good(phone.client.getSession()), null);
await good(phone.client.signIn.email({ email, password }));
assert.deepEqual(await good(laptop.client.revokeOtherSessions()), { status: true });
assert.equal(await good(phone.client.getSession()), null);

// Another password ends other sessions, and this one goes on with a new token.
await good(phone.client.signIn.email({ email, password }));
const changed = "the second password";
await bad(laptop.client.changePassword({ currentPassword: "wrong", newPassword: changed }), 400, "INVALID_PASSWORD");
const before = laptop.jar.get(sessionCookie);
const after = await good(laptop.client.changePassword({ currentPassword: password, newPassword: changed, revokeOtherSessions: true }));
assert.equal(typeof after.token, "string");
assert.notEqual(laptop.jar.get(sessionCookie), before);
assert.equal((await good(laptop.client.getSession())).user.id, made.user.id);
assert.equal(await good(phone.client.getSession()), null);

// A forgotten password.
assert.equal((await good(phone.client.requestPasswordReset({ email, redirectTo: "/app/reset" }))).status, true);
assert.equal((await good(phone.client.requestPasswordReset({ email: "nobody@example.com", redirectTo: "/app/reset" }))).status, true);
await bad(phone.client.requestPasswordReset({ email, redirectTo: "//evil.example" }), 403, "INVALID_REDIRECT_URL");
const letter = await (await fetch(`${server}/letters?to=${email}`)).text();
const link = letter.match(/http\S+reset-password\S+/)[0];
const onward = new URL((await phone.request(link)).headers.get("location"), page);
assert.equal(onward.pathname, "/app/reset");
const token = onward.searchParams.get("token");
const third = "the third password";
await bad(phone.client.resetPassword({ newPassword: third, token: token + "x" }), 400, "INVALID_TOKEN");
assert.deepEqual(await good(phone.client.resetPassword({ newPassword: third, token })), { status: true });
await bad(phone.client.resetPassword({ newPassword: third, token }), 400, "INVALID_TOKEN");
assert.equal(await good(laptop.client.getSession()), null);
await bad(phone.client.signIn.email({ email, password: changed }), 401, "INVALID_EMAIL_OR_PASSWORD");
await good(phone.client.signIn.email({ email, password: third }));
assert.equal((await good(phone.client.getSession())).user.emailVerified, true);

// Signing in with GitHub links the verified address.
await bad(laptop.client.signIn.social({ provider: "google" }), 404, "PROVIDER_NOT_FOUND");
const away = await good(laptop.client.signIn.social({ provider: "github", callbackURL: "/app/home", errorCallbackURL: "/app/oops", disableRedirect: true }));
assert.equal(away.redirect, false);
const back = (await fetch(away.url, { redirect: "manual" })).headers.get("location");
const home = await laptop.request(back);
assert.equal(home.status, 302);
assert.equal(home.headers.get("location"), "/app/home");
assert.equal((await good(laptop.client.getSession())).user.id, made.user.id);

// Signing out, everywhere and here.
assert.deepEqual(await good(laptop.client.signOut()), { success: true });
assert.equal(await good(laptop.client.getSession()), null);
assert.deepEqual(await good(phone.client.revokeSessions()), { status: true });
assert.equal(await good(phone.client.getSession()), null);
assert.ok(!phone.jar.has(sessionCookie));
