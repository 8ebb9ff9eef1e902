//go:build tools

// Package tools names KEDA's operator and the server of its metrics: only `make keda` needs them.
package tools

import (
	_ "github.com/kedacore/keda/v2/cmd/adapter"
	_ "github.com/kedacore/keda/v2/cmd/operator"
)
