//go:build tools

// Package tools names Vault: only `make secret-stores` needs it.
package tools

import (
	_ "github.com/hashicorp/vault"
)
