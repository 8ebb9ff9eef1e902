//go:build tools

// Package tools names the scanners of `make security` that are Go: nothing else needs them, so they have a module of their own.
package tools

import (
	_ "github.com/zegl/kube-score/cmd/kube-score"
	_ "github.com/zricethezav/gitleaks/v8"
)
