//go:build tools

// Package tools names the oldest Helm that the chart is for. It has a module of its own: it needs older Kubernetes libraries than
// the other programs.
package tools

import (
	_ "helm.sh/helm/v3/cmd/helm"
)
