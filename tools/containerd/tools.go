//go:build tools

// Package tools names containerd's programs: they need a newer cri-api than Kubernetes, so they have a module of their own.
package tools

import (
	_ "github.com/containerd/containerd/v2/cmd/containerd"
	_ "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2"
	_ "github.com/containerd/containerd/v2/cmd/ctr"
)
