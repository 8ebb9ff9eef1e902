//go:build tools

// Package tools names Argo CD, all of whose parts are one program: only `make argocd` needs it, and it needs a newer Go than the
// other programs, so it has a module of its own.
package tools

import (
	_ "github.com/argoproj/argo-cd/v3/cmd"
)
