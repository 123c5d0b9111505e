// Package assets decides what a release's static files answer to a request.
//
// It follows Cloudflare's Workers Static Assets
// (https://developers.cloudflare.com/workers/static-assets/): html_handling,
// not_found_handling, _headers and _redirects. Nothing in it touches a disk, a
// network or a clock: a Manifest is data, a Site is that data prepared for
// lookups, and Site.Plan turns a request into a status, headers and a reference
// to bytes. The dispatcher answers visitors with it, and the deploy step asks it
// for the start page before a release goes live, so both give one answer.
package assets
