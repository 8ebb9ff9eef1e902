//go:build tools

// Package tools names Kueue's controller: it needs an older controller-runtime than the other programs, and only `make kueue`
// needs it, so it has a module of its own.
package tools

import (
	_ "sigs.k8s.io/kueue/cmd/kueue"
)
