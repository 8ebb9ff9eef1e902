//go:build tools

// Package tools names the External Secrets operator: only `make secret-stores` needs it.
package tools

import (
	_ "github.com/external-secrets/external-secrets"
)
