package oci

import (
	"os"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/slipwayhq/slipway/sandbox"
)

// Inside, root runs process 1 only and builds are a user of their own, so that
// a build cannot signal process 1 or look into it.
const (
	buildUID = 1000
	buildGID = 1000
)

// identity is who a sandbox's users are, inside and on the host.
type identity struct {
	uids, gids []specs.LinuxIDMapping
	// build is the user of builds inside.
	build specs.User
	// files owns what a build made, seen from the host.
	files sandbox.Owner
}

func rootless() bool { return os.Geteuid() != 0 }

// identify maps a sandbox's users to the organization's range. A provider that
// is not root may map only itself: its sandboxes have one user, which is root
// inside without privilege and the provider's own user outside.
func identify(r *record) identity {
	if rootless() {
		return identity{
			uids:  []specs.LinuxIDMapping{{ContainerID: 0, HostID: uint32(os.Geteuid()), Size: 1}},
			gids:  []specs.LinuxIDMapping{{ContainerID: 0, HostID: uint32(os.Getegid()), Size: 1}},
			files: sandbox.Owner{UID: -1, GID: -1},
		}
	}
	mapping := []specs.LinuxIDMapping{{ContainerID: 0, HostID: r.UIDBase, Size: r.UIDCount}}
	return identity{
		uids: mapping, gids: mapping, build: specs.User{UID: buildUID, GID: buildGID},
		files: sandbox.Owner{UID: int(r.UIDBase) + buildUID, GID: int(r.UIDBase) + buildGID},
	}
}
