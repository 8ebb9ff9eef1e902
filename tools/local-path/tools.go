//go:build tools

// Package tools names the volume provisioner, which needs older dependencies than the rest.
package tools

import _ "github.com/rancher/local-path-provisioner"
