// Package webhook is what webhooks are made of: which addresses they may have,
// what is kept secret of them, how an event is said in each format, how it is
// signed, and the one request that says it.
//
// Signatures follow the Standard Webhooks specification
// (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md).
package webhook
