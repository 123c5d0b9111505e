package certs

import "github.com/caddyserver/certmagic"

// DeniedFor is how long a no is remembered.
const DeniedFor = deniedFor

// Storage is what certmagic is given.
func (c *Certs) Storage() certmagic.Storage { return c.storage }
