package certs

import "github.com/caddyserver/certmagic"

// Storage is what certmagic is given.
func (c *Certs) Storage() certmagic.Storage { return c.storage }
