package oci

import (
	"io/fs"
	"syscall"
)

func ownerOf(stat fs.FileInfo) uint32 { return stat.Sys().(*syscall.Stat_t).Uid }
