// Package models is the domain: identifiers, the step and status machine, coded
// errors, the rows of PostgreSQL and the queries on them. It imports nothing of
// ours, so that every other package may import it.
package models
