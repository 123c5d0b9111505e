// Drives the better-auth client, as published, through a sign-up whose address is
// confirmed by mail. The server under test is at SERVER; its letters are read at
// /letters.
import assert from "node:assert/strict";
import { createAuthClient } from "better-auth/client";

const server = process.env.SERVER;
const client = createAuthClient({ baseURL: server, fetchOptions: { headers: { origin: server } } });
const person = { email: "ada@example.com", password: "the first password" };

const asked = await client.signUp.email({ ...person, name: "Ada Lovelace", callbackURL: "/hello" });
assert.equal(asked.error, null);
assert.equal(asked.data.token, null);

const letter = await (await fetch(`${server}/letters?to=${person.email}`)).text();
const link = letter.match(/http\S+verify-email\S+/)[0];
const onward = new URL((await fetch(link, { redirect: "manual" })).headers.get("location"), server);
assert.equal(onward.searchParams.get("callbackURL"), "/hello");
const confirmationToken = onward.searchParams.get("confirmationToken");

// The password alone is not enough, nor is the link; the client passes on what it does not know.
assert.equal((await client.signIn.email(person)).error.code, "INVALID_EMAIL_OR_PASSWORD");
assert.equal((await client.signIn.email({ ...person, password: "another password", confirmationToken })).error.code, "INVALID_EMAIL_OR_PASSWORD");
const inside = await client.signIn.email({ ...person, confirmationToken, callbackURL: "/hello" });
assert.equal(inside.error, null);
assert.equal(inside.data.user.emailVerified, true);
assert.equal(inside.data.url, "/hello");
assert.equal((await client.signIn.email(person)).error, null);
